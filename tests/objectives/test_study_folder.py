import io
import json
import os

import numpy as np
import pytest

from loratory.objectives.records import CurvePoint, Provenance, TrialRecord
from loratory.objectives.scores import (
    Prediction,
    ScoreTable,
    predictions_from_bytes,
    predictions_to_bytes,
)
from loratory.objectives.study_folder import StudyFolder, write_atomically
from loratory.spaces import LoratoryError
from loratory.spaces.trial import trial_key


def point(step: int) -> CurvePoint:
    return CurvePoint(optimizer_step=step, loss=1.0, learning_rate=0.1, grad_norm=1.0, tokens_seen=step)


def record_of(number: int, **fields) -> TrialRecord:
    identity = {"study": "u", "key": trial_key(number), "number": number, "params": {}}
    return TrialRecord(provenance=Provenance(seed=1), **{**identity, **fields})


@pytest.fixture
def folder(tmp_path) -> StudyFolder:
    return StudyFolder(tmp_path / "s")


def test_a_record_reads_back_as_it_was_written(folder):
    record = record_of(12, params={"rank": 8, "x": None})
    folder.write_record(record)
    assert folder.read_records() == [record]


def test_a_damaged_record_is_named(folder):
    folder.write_record(record_of(0))
    path = folder.trial("0000") / "record.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(LoratoryError, match=r"trials/0000/record\.json: must be a record"):
        folder.read_records()


def test_a_folder_that_may_not_be_read_is_no_folder_without_records(folder):
    folder.write_record(record_of(0))
    hidden = (folder.trial("0000"), folder.path / "trials")
    for one in hidden:
        one.chmod(0)
        try:
            if os.access(one, os.R_OK):
                pytest.skip("root may read everywhere: NOT tested; run it as another user")
            with pytest.raises(PermissionError):
                folder.read_records()
        finally:
            one.chmod(0o755)
    assert [record.number for record in folder.read_records()] == [0]
    (folder.path / "trials" / "notes.txt").write_text("a file beside the trials")
    assert len(folder.read_records()) == 1 and folder.read_retrained() == folder.read_looks() == []


def test_a_record_of_a_newer_version_is_refused(folder):
    write_atomically(folder.trial("0000") / "record.json", json.dumps({"schema_version": 99}).encode())
    with pytest.raises(LoratoryError, match="update loratory"):
        folder.read_records()


def test_non_finite_numbers_cannot_be_recorded():
    with pytest.raises(ValueError, match="finite"):
        record_of(0, values=[float("nan")])


def test_a_curve_is_cut_at_a_checkpoint_and_survives_a_torn_line(folder):
    folder.append_curve("0000", [point(step) for step in range(1, 6)])
    with (folder.trial("0000") / "curve.jsonl").open("a") as file:
        file.write('{"optimizer_step": 6, "lo')
    assert [p.optimizer_step for p in folder.read_curve("0000")] == [1, 2, 3, 4, 5]
    folder.cut_curve("0000", after_optimizer_step=3)
    folder.append_curve("0000", [point(4)])
    assert [p.optimizer_step for p in folder.read_curve("0000")] == [1, 2, 3, 4]


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_scores_and_predictions_survive_the_round_trip():
    table = ScoreTable(
        example_ids=("a", "b"),
        groups=("g", "g"),
        metrics={"bleu": np.array([0.1, 0.2])},
        statistics={"bleu": np.arange(6.0).reshape(2, 3)},
        signatures={"bleu": "tok:13a"},
        aggregate={"bleu": 0.15},
    )
    back = ScoreTable.from_bytes(table.to_bytes())
    assert (back.example_ids, back.groups, back.signatures, back.aggregate) == (
        table.example_ids,
        table.groups,
        table.signatures,
        table.aggregate,
    )
    np.testing.assert_array_equal(back.statistics["bleu"], table.statistics["bleu"])
    text = "line one\nline \u2028 two 你好 \ud800"
    (prediction,) = predictions_from_bytes(
        predictions_to_bytes(
            [Prediction(example_id="a", group="g", prompt="p", reference="r", prediction=text)]
        )
    )
    assert prediction.prediction == text.replace("\ud800", "?")


def test_a_key_with_a_slash_names_its_folder_and_is_no_trial_of_the_search(folder):
    again = record_of(11).model_copy(update={"key": "confirm/0011-2", "number": None})
    folder.write_record(again)
    folder.write_record(record_of(11))
    folder.append_curve(again.key, [point(1)])
    assert folder.trial(again.key) == folder.path / "trials" / "confirm" / "0011-2"
    assert folder.trial("0011") == folder.path / "trials" / "0011"
    assert folder.read_record(again.key) == again
    assert folder.read_curve(again.key) == [point(1)] and folder.read_curve("0011") == []
    assert [record.key for record in folder.read_records()] == ["0011"]
    assert folder.read_retrained() == [again]
    assert again.shown == "confirm/0011-2"
    with pytest.raises(LookupError, match="confirm/0011-2 must have a row"):
        _ = again.row


def test_trials_are_listed_by_number_beyond_four_digits(folder):
    for number in (10_000, 9_999, 2):
        folder.write_record(record_of(number))
    assert [record.number for record in folder.read_records()] == [2, 9_999, 10_000]


def test_scores_of_a_newer_version_are_refused_and_those_of_version_1_are_read():
    empty = {"example_ids": (), "groups": (), "metrics": {}, "statistics": {}, "signatures": {}}
    data = ScoreTable(aggregate={"loss": 1.0}, **empty).to_bytes()
    assert header_of(data)["schema_version"] == 2
    assert ScoreTable.from_bytes(with_version(data, None)).aggregate == {"loss": 1.0}
    with pytest.raises(LoratoryError, match=r"^here: schema_version must be at most 2, got 3; update"):
        ScoreTable.from_bytes(with_version(data, 3), "here")


def header_of(data: bytes) -> dict[str, object]:
    return json.loads(np.load(io.BytesIO(data))["header"].tobytes())


def with_version(data: bytes, version: int | None) -> bytes:
    header = {name: value for name, value in header_of(data).items() if name != "schema_version"}
    header |= {} if version is None else {"schema_version": version}
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
    return buffer.getvalue()
