from pathlib import Path

import pytest

from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.errors import InputError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `runs` of a working directory, with two studies."""
    for name in ("a", "b"):
        (tmp_path / "runs" / name / "report").mkdir(parents=True)
        (tmp_path / "runs" / name / "study.json").touch()
    (tmp_path / "runs" / "a" / "report" / "report.html").touch()
    (tmp_path / "study.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return Path("runs")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("runs", "has no study.json; it holds those of runs/a, runs/b: name one"),
        ("runs/a/report", "has no study.json; it lies in the study folder runs/a: name that"),
        (
            "runs/a/report/report.html",
            "has no study.json: it is a file; it lies in the study folder runs/a: name that",
        ),
        ("a", "has no study.json: it is not there; did you mean runs/a?"),
        (
            "study.yaml",
            "has no study.json: it is a file; `loratory run STUDY_FILE` makes one, runs/NAME by default",
        ),
        (
            "nothing",
            "has no study.json: it is not there; `loratory run STUDY_FILE` makes one, runs/NAME by default",
        ),
    ],
)
def test_a_path_without_a_study_names_the_one_that_may_be_meant(runs: Path, named: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        StudyFolder(Path(named)).read_manifest()
    assert str(told.value) == f"{named}: must be a study folder, {said}"
