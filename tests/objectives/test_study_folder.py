import json

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
