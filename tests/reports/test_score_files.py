from pathlib import Path

import pytest

from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports.score_files import read_scoring, read_table
from loratory.spaces.errors import LoratoryError


def test_no_scores_kept_is_none(tmp_path: Path) -> None:
    assert read_table(tmp_path) is None
    assert read_scoring(StudyFolder(tmp_path), BASE) is None


def test_scores_without_their_record_are_not_there_yet(study: StudyFolder) -> None:
    assert read_scoring(study, BASE) is not None
    (study.score(BASE) / "record.json").unlink()
    assert read_scoring(study, BASE) is None
    assert read_table(study.score(BASE)) is not None


def test_damaged_scores_are_named(tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(LoratoryError, match=r"scores\.npz: must be per-example scores, is damaged"):
        read_table(tmp_path)


def test_what_may_not_be_read_is_said_without_numbers_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scores.npz").touch()

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        LoratoryError, match="is damaged: it cannot be read: Permission denied; restore"
    ) as told:
        read_table(tmp_path)
    assert "Errno" not in str(told.value)
