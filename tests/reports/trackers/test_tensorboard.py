import struct
from pathlib import Path

import pytest

from loratory.objectives.records import TrialState
from loratory.reports.trackers.tensorboard import TensorBoardSink
from loratory.reports.trackers.tracker import open_trackers


def test_the_events_of_a_finished_trial_are_its_curve_evaluations_and_result(driver, study_with, study_uuid):
    tracker = open_trackers(study_with(mode="off", tensorboard=True), driver.folder, study_uuid)
    driver.run(3, TrialState.COMPLETE, tracker)
    (line,) = tracker.close(60)
    assert line.endswith(f": tensorboard --logdir {driver.folder.path}/tensorboard")

    scalars, hyperparameters, text = _read(driver.folder.path / "tensorboard" / "0003")
    assert scalars["train/loss"] == [(step, pytest.approx(1 / step)) for step in range(1, 21)]
    assert [step for step, _ in scalars["dev/rougeL"]] == [1, 2, 3, 4]
    assert scalars["select/bleu"] == [(4, 12.5)]
    assert hyperparameters["learning_rate"] == pytest.approx(4e-4)
    assert (hyperparameters["rank"], hyperparameters["state"]) == (8, "COMPLETE")
    assert text == "COMPLETE: because complete"


def test_points_stand_once_after_a_resume_in_the_middle(driver, study_with):
    driver.start(0)
    first = TensorBoardSink(study_with(), driver.folder)
    driver.train(0, 1)
    first.update("0000")
    driver.train(0, 2)
    first.update("0000")
    path = driver.folder.path / "tensorboard" / "0000"
    assert [step for step, _ in _read(path)[0]["train/loss"]] == list(range(1, 11))

    second = TensorBoardSink(study_with(), driver.folder)
    driver.train(0, 3)
    second.update("0000")
    assert [step for step, _ in _read(path)[0]["train/loss"]] == list(range(1, 16))

    driver.end(0, TrialState.PRUNED)
    second.complete("0000")
    scalars, _, text = _read(path)
    assert [step for step, _ in scalars["train/loss"]] == list(range(1, 16))
    assert [step for step, _ in scalars["dev/loss"]] == [1, 2, 3]
    assert text.startswith("PRUNED")


def test_another_attempt_begins_the_live_file_anew(driver, study_with):
    driver.start(0)
    sink = TensorBoardSink(study_with(), driver.folder)
    driver.train(0, 1)
    sink.update("0000")
    (driver.folder.trial("0000") / "curve.jsonl").unlink()
    driver.records[0] = driver.records[0].model_copy(update={"attempt": 2, "measurements": []})
    driver.train(0, 1)
    sink.update("0000")
    scalars, _, _ = _read(driver.folder.path / "tensorboard" / "0000")
    assert [step for step, _ in scalars["train/loss"]] == [1, 2, 3, 4, 5]


def test_finished_trials_are_written_once(driver, study_with, study_uuid):
    study = study_with(mode="off", tensorboard=True)
    driver.run(0, TrialState.COMPLETE)
    driver.run(1, TrialState.PRUNED)
    open_trackers(study, driver.folder, study_uuid).close(60)
    root = driver.folder.path / "tensorboard"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*tfevents*")}
    driver.folder.marker("0001", "tensorboard").unlink()
    open_trackers(study, driver.folder, study_uuid).close(60)
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*tfevents*")}
    kept = [path for path, time_ns in before.items() if after.get(path) == time_ns]
    assert [path.parent.name for path in kept] == ["0000"]
    assert len(after) == 2


def _read(folder: Path):
    """Scalars by tag, hyperparameters and text, from TFRecord frames: length, crc, data, crc."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    (path,) = folder.glob("*tfevents*")
    data, position = path.read_bytes(), 0
    scalars, hyperparameters, text = {}, {}, ""
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        event = Event.FromString(data[position + 12 : position + 12 + length])
        position += 16 + length
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
            elif value.metadata.plugin_data.plugin_name == "hparams":
                plugin = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                for name, content in plugin.session_start_info.hparams.items():
                    hyperparameters[name] = getattr(content, content.WhichOneof("kind"))
            elif value.tag.startswith("state"):
                text = value.tensor.string_val[0].decode()
    return scalars, hyperparameters, text
