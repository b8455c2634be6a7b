import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loratory.objectives.records import TrialState
from loratory.reports.trackers.background import BackgroundTracker
from loratory.reports.trackers.marker import read_marker
from loratory.reports.trackers.tracker import open_trackers
from loratory.reports.trackers.wandb_environment import run_id
from loratory.reports.trackers.wandb_sink import WandbSink
from loratory.spaces.tracking import WandbMode

POINTS = [(step, pytest.approx(1 / step)) for step in range(1, 21)]


def test_an_offline_run_holds_everything_there_is_to_know_of_a_trial(
    driver, study_with, study_uuid, offline_runs, expected_predictions
):
    tracker = open_trackers(study_with(), driver.folder, study_uuid)
    driver.run(7, TrialState.COMPLETE, tracker)
    (line,) = tracker.close(60)

    run = offline_runs()[run_id(study_uuid, "0007")]
    assert run.group == "tracked"
    assert set(run.tags) == {"blue", "COMPLETE"}
    assert run.exit_code == 0
    assert run.config["learning_rate"] == pytest.approx(8e-4)
    assert (run.config["rank"], run.config["epochs"], run.config["batch_size"]) == (8, 2, 16)
    assert (run.config["study_uuid"], run.config["number"], run.config["seed"]) == (study_uuid, 7, 84)
    assert run.config["searched"] == ["learning_rate"]

    assert run.column("optimizer_step", "train/loss") == POINTS
    assert run.column("optimizer_step", "train/tokens_seen")[-1] == (20, 1280)
    assert run.column("evaluation", "dev/rougeL") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert run.step_metrics["train/*"] == "optimizer_step"
    assert run.step_metrics["dev/*"] == "evaluation"

    assert run.summary["state"] == "COMPLETE"
    assert (run.summary["value"], run.summary["select/rougeL"]) == (0.625, 0.625)
    assert (run.summary["select/bleu"], run.summary["best_evaluation"]) == (12.5, 2)
    table = run.table()
    assert table["columns"] == ["example_id", "group", "prompt", "reference", "prediction"]
    assert table["data"] == [list(vars(p).values()) for p in expected_predictions[:3]]

    assert f"wandb sync {driver.folder.path}/wandb/offline-run-*" in line
    assert not (driver.folder.path / "wandb" / ".work").exists()


def test_trials_without_a_score_have_runs_with_their_state(driver, study_with, study_uuid, offline_runs):
    tracker = open_trackers(study_with(), driver.folder, study_uuid)
    driver.run(0, TrialState.PRUNED, tracker, evaluations=2)
    driver.run(1, TrialState.FAIL, tracker, evaluations=1)
    driver.run(2, TrialState.INFEASIBLE, tracker, evaluations=0)
    driver.start(3)
    driver.train(3, 1, tracker)
    tracker.close(60)

    runs = list(offline_runs().values())
    assert [run.summary["state"] for run in runs] == ["PRUNED", "FAIL", "INFEASIBLE"]
    assert [run.summary["reason"] for run in runs] == ["because pruned", "because fail", "because infeasible"]
    assert [run.exit_code for run in runs] == [0, 1, 0]
    assert [len(run.history) for run in runs] == [12, 6, 0]
    assert runs[1].summary["error"] == "oom: out of memory"
    assert "value" not in runs[0].summary


def test_a_training_on_a_new_seed_has_a_run_and_events_of_its_own_key(
    driver, study_with, study_uuid, offline_runs
):
    driver.run(3, TrialState.COMPLETE)
    again = driver.records[3].model_copy(update={"key": "confirm/0003-2", "number": None})
    shutil.copytree(driver.folder.trial("0003"), driver.folder.trial(again.key))
    driver.folder.write_record(again)
    open_trackers(study_with(tensorboard=True), driver.folder, study_uuid).close(60)
    runs = offline_runs()
    assert set(runs) == {run_id(study_uuid, "0003"), run_id(study_uuid, "confirm/0003-2")}
    config = runs[run_id(study_uuid, "confirm/0003-2")].config
    assert (config["key"], config["number"]) == ("confirm/0003-2", None)
    assert read_marker(driver.folder.marker(again.key, "wandb")).complete
    assert list((driver.folder.tensorboard / "confirm" / "0003-2").iterdir())


def test_a_second_run_of_the_study_writes_only_what_is_missing(driver, study_with, study_uuid, offline_runs):
    for number in range(3):
        driver.run(number, TrialState.COMPLETE)
    open_trackers(study_with(), driver.folder, study_uuid).close(60)
    first = {run.id: run.folder for run in offline_runs().values()}
    driver.folder.marker("0001", "wandb").unlink()
    (first[run_id(study_uuid, "0001")] / "files" / "cut-short").touch()
    driver.records[2] = driver.records[2].model_copy(update={"attempt": 2})
    driver.end(2, TrialState.PRUNED)

    open_trackers(study_with(), driver.folder, study_uuid).close(60)

    second = offline_runs()
    assert len(second) == 3
    assert second[run_id(study_uuid, "0000")].folder == first[run_id(study_uuid, "0000")]
    assert not (second[run_id(study_uuid, "0001")].folder / "files" / "cut-short").exists()
    assert second[run_id(study_uuid, "0002")].summary["state"] == "PRUNED"
    marker = read_marker(driver.folder.marker("0001", "wandb"))
    assert driver.folder.path / marker.folder == second[run_id(study_uuid, "0001")].folder


def test_offline_touches_no_network_and_writes_nothing_outside_the_study_folder(
    driver, study_with, study_uuid, clean_environment, monkeypatch, tmp_path, capfd
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
        monkeypatch.setenv("WANDB_RUN_ID", "of-somebody-else")
        driver.run(0, TrialState.COMPLETE)
        open_trackers(study_with(mode="auto"), driver.folder, study_uuid).close(60)
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert read_marker(driver.folder.marker("0000", "wandb")).mode == "offline"
    assert list(clean_environment.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "studies"]
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["tracked"]
    files = [path for path in driver.folder.path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert capfd.readouterr() == ("", "")


def test_wandb_itself_uploads_an_offline_run_whole(
    driver, study_with, study_uuid, offline_runs, wandb_server
):
    driver.run(0, TrialState.COMPLETE)
    open_trackers(study_with(mode="offline"), driver.folder, study_uuid).close(60)
    assert wandb_server.runs == {}

    (run,) = offline_runs().values()
    home = driver.folder.path.parent
    subprocess.run(
        [shutil.which("wandb", path=Path(sys.executable).parent) or "wandb", "sync", str(run.folder)],
        check=True,
        timeout=60,
        capture_output=True,
        env={
            **os.environ,
            "WANDB_DIR": str(home),
            "WANDB_CACHE_DIR": str(home),
            "WANDB_ERROR_REPORTING": "false",
        },
    )

    rows = wandb_server.history(run.id)
    assert [row["train/loss"] for row in rows if "optimizer_step" in row] == [loss for _, loss in POINTS]
    assert wandb_server.summaries[run.id]["select/rougeL"] == 0.625
    assert any(path.startswith("/upload/media/table/") for path in wandb_server.uploads)
    assert open_trackers(study_with(mode="offline"), driver.folder, study_uuid).close(60) == []


def test_an_online_run_grows_with_its_trial_and_ends_with_its_metrics(
    driver, study_with, study_uuid, wandb_server
):
    tracker = open_trackers(study_with(mode="auto"), driver.folder, study_uuid)
    driver.run(0, TrialState.COMPLETE, tracker)
    driver.run(1, TrialState.FAIL, tracker, evaluations=1)
    assert tracker.close(60) == []

    name = run_id(study_uuid, "0000")
    rows = wandb_server.history(name)
    assert [(row["optimizer_step"], row["train/loss"]) for row in rows if "optimizer_step" in row] == POINTS
    assert [row["dev/rougeL"] for row in rows if "evaluation" in row] == [0.1, 0.2, 0.3, 0.4]
    assert wandb_server.summaries[name]["state"] == "COMPLETE"
    assert wandb_server.summaries[name]["select/bleu"] == 12.5
    assert wandb_server.runs[name]["groupName"] == "tracked"
    assert any(path.startswith("/upload/media/table/") for path in wandb_server.uploads)
    assert wandb_server.exit_codes == {name: 0, run_id(study_uuid, "0001"): 1}
    assert not list(driver.folder.path.glob("wandb/offline-run-*"))


def test_after_a_resume_an_online_run_goes_on_where_the_server_stands(
    driver, study_with, study_uuid, wandb_server
):
    driver.start(0)
    tracker = open_trackers(study_with(mode="online"), driver.folder, study_uuid)
    for evaluation in (1, 2):
        driver.train(0, evaluation, tracker)
    assert tracker.close(60) == []
    name = run_id(study_uuid, "0000")
    assert len(wandb_server.history(name)) == 12
    # The server has lost the last rows, as when a machine dies before they were sent.
    for index in range(5, 12):
        del wandb_server.rows[name][index]

    tracker = open_trackers(study_with(mode="online"), driver.folder, study_uuid)
    driver.train(0, 3, tracker)
    driver.end(0, TrialState.PRUNED, tracker)
    driver.end(0, TrialState.FAIL, tracker)  # a record that changes after all changes no row
    assert tracker.close(60) == []

    rows = wandb_server.history(name)
    assert wandb_server.summaries[name]["state"] == "FAIL"
    assert [(row["optimizer_step"], row["train/loss"]) for row in rows if "optimizer_step" in row] == POINTS[
        :15
    ]
    assert [row["evaluation"] for row in rows if "evaluation" in row] == [1, 2, 3]
    assert list(wandb_server.runs) == [name]


def test_a_killed_online_process_loses_and_doubles_nothing(driver, study_with, study_uuid, wandb_server):
    sink = WandbSink(study_with(), driver.folder, study_uuid=study_uuid, mode=WandbMode.ONLINE)
    tracker = BackgroundTracker(sink, driver.folder)
    driver.start(0)
    name = run_id(study_uuid, "0000")
    for evaluation in (1, 2, 3):
        driver.train(0, evaluation, tracker)
        if evaluation == 2:
            _wait_for(lambda: read_marker(driver.folder.marker("0000", "wandb")) is not None)
            os.kill(sink.process_id, signal.SIGKILL)
    driver.end(0, TrialState.COMPLETE, tracker)
    assert tracker.close(60) == []

    rows = wandb_server.history(name)
    assert [(row["optimizer_step"], row["train/loss"]) for row in rows if "optimizer_step" in row] == POINTS[
        :15
    ]
    assert [row["evaluation"] for row in rows if "evaluation" in row] == [1, 2, 3]


def test_a_server_that_refuses_rows_leaves_complete_offline_runs(
    driver, study_with, study_uuid, wandb_server, offline_runs
):
    wandb_server.refuse = True
    tracker = open_trackers(study_with(mode="online"), driver.folder, study_uuid)
    driver.run(0, TrialState.COMPLETE, tracker)
    warning, sync = tracker.close(60)

    assert "403" in warning
    assert "wandb sync" in sync
    (run,) = offline_runs().values()
    assert run.column("optimizer_step", "train/loss") == POINTS
    assert not list(driver.folder.path.glob("wandb/run-*"))


def test_a_closed_port_costs_seconds_and_leaves_complete_offline_runs(
    driver, study_with, study_uuid, monkeypatch, clean_environment, offline_runs
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    sink = WandbSink(
        study_with(), driver.folder, study_uuid=study_uuid, mode=WandbMode.AUTO, connect_timeout_seconds=2
    )
    tracker = BackgroundTracker(sink, driver.folder)
    started = time.monotonic()
    for number in range(3):
        driver.run(number, TrialState.COMPLETE, tracker)
    assert time.monotonic() - started < 10
    lines = tracker.close(60)

    assert time.monotonic() - started < 40
    assert len(lines) == 2
    assert "not reached" in lines[0]
    assert "3 runs are offline" in lines[1]
    assert [run.column("optimizer_step", "train/loss") for run in offline_runs().values()] == [POINTS] * 3


def test_online_without_a_key_falls_back_with_one_warning(driver, study_with, study_uuid, offline_runs):
    tracker = open_trackers(study_with(mode="online"), driver.folder, study_uuid)
    driver.run(0, TrialState.COMPLETE, tracker)
    warning, _ = tracker.close(60)
    assert "No API key" in warning
    assert len(offline_runs()) == 1


def _wait_for(condition, timeout_seconds=60):
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
