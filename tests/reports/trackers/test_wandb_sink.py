import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from loratory.objectives.records import TrialState
from loratory.reports.trackers.background import BackgroundTracker
from loratory.reports.trackers.marker import read_marker
from loratory.reports.trackers.tracker import NullTracker, open_trackers
from loratory.reports.trackers.wandb_environment import run_id
from loratory.reports.trackers.wandb_sink import WandbSink
from loratory.spaces.tracking import WandbMode


@pytest.fixture
def sink(driver, study_with, study_uuid):
    return WandbSink(study_with(), driver.folder, study_uuid=study_uuid, mode=WandbMode.OFFLINE)


def test_a_process_killed_while_it_writes_is_replaced_and_nothing_is_missing_or_double(
    driver, sink, study_uuid, offline_runs
):
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(0, TrialState.COMPLETE, tracker)
    driver.start(1)
    driver.folder.append_curve("0001", [driver.point(step + 1) for step in range(6000)])
    driver.end(1, TrialState.PRUNED, tracker)
    name = run_id(study_uuid, "0001")
    _wait_for(lambda: list(driver.folder.path.glob(f"wandb/.work/*/runs/wandb/*-{name}/*.wandb")))
    killed = sink.process_id
    os.kill(killed, signal.SIGKILL)
    driver.run(2, TrialState.COMPLETE, tracker)
    _wait_for(lambda: sink.process_id not in (None, killed))
    (line,) = tracker.close(60)

    assert "3 runs are offline" in line
    runs = offline_runs()
    keys = ("0000", "0001", "0002")
    assert [len(runs[run_id(study_uuid, key)].history) for key in keys] == [25, 6000, 25]
    steps = [step for step, _ in runs[run_id(study_uuid, "0001")].column("optimizer_step", "train/loss")]
    assert steps == list(range(1, 6001))


def test_a_stalled_process_blocks_nobody_and_the_runs_are_complete_in_the_end(driver, sink, offline_runs):
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(0, TrialState.COMPLETE, tracker)
    _wait_for(lambda: read_marker(driver.folder.marker("0000", "wandb")))
    assert os.getpgid(sink.process_id) != os.getpgid(0), "Ctrl-C in the terminal would reach it"
    os.kill(sink.process_id, signal.SIGSTOP)
    driver.start(1)
    driver.train(1, 1, tracker)
    started = time.monotonic()
    for _ in range(20_000):
        tracker.observe(None, driver.records[1])
    assert time.monotonic() - started < 10
    for number in (1, 2, 3):
        driver.run(number, TrialState.COMPLETE, tracker, evaluations=2)
    assert not list(driver.folder.path.glob("trials/000[123]/wandb.json"))
    os.kill(sink.process_id, signal.SIGCONT)
    tracker.close(60)

    assert len(offline_runs()) == 4


def test_close_gives_up_in_time_and_the_next_run_of_the_study_writes_the_rest(
    driver, sink, study_with, study_uuid, offline_runs
):
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(0, TrialState.COMPLETE, tracker)
    _wait_for(lambda: read_marker(driver.folder.marker("0000", "wandb")))
    os.kill(sink.process_id, signal.SIGSTOP)
    driver.run(1, TrialState.COMPLETE, tracker)
    started = time.monotonic()
    lines = tracker.close(1.0)
    assert time.monotonic() - started < 15
    assert any("the same command again" in line for line in lines)
    assert len(offline_runs()) == 1

    open_trackers(study_with(), driver.folder, study_uuid).close(60)
    assert len(offline_runs()) == 2


def test_kill_9_of_the_driver_leaves_one_complete_run_a_trial_after_a_resume(
    driver, study_with, study_uuid, offline_runs
):
    for number in range(25):
        driver.run(number, TrialState.COMPLETE)
    script = (
        "import sys, time; from pathlib import Path;"
        "from loratory.objectives.study_folder import StudyFolder;"
        "from loratory.reports.trackers.tracker import open_trackers;"
        "from loratory.spaces.study import StudySpec;"
        "study = StudySpec.model_validate_json(sys.argv[1]);"
        "open_trackers(study, StudyFolder(Path(sys.argv[2])), sys.argv[3]); time.sleep(60)"
    )
    arguments = [study_with().model_dump_json(), str(driver.folder.path), study_uuid]
    with subprocess.Popen([sys.executable, "-c", script, *arguments]) as first:
        _wait_for(lambda: len(list(driver.folder.path.glob("trials/*/wandb.json"))) >= 3)
        first.send_signal(signal.SIGKILL)
    written = len(list(driver.folder.path.glob("trials/*/wandb.json")))

    open_trackers(study_with(), driver.folder, study_uuid).close(60)

    assert written < 25
    runs = offline_runs()
    assert len(runs) == 25
    assert {len(run.history) for run in runs.values()} == {25}
    assert {run.exit_code for run in runs.values()} == {0}


def test_an_installation_without_a_working_wandb_costs_a_line(
    driver, study_with, study_uuid, tmp_path, monkeypatch
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "wandb.py").write_text("raise ImportError('no wandb here')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    tracker = open_trackers(study_with(), driver.folder, study_uuid)
    driver.run(0, TrialState.COMPLETE, tracker)
    (line,) = tracker.close(60)
    assert "no wandb here" in line
    assert "1 of its trials not written" in line


def _wait_for(condition, timeout_seconds=60):
    deadline = time.monotonic() + timeout_seconds
    while True:
        with contextlib.suppress(FileNotFoundError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_key_that_is_hidden_after_the_start_still_reaches_the_process(
    driver, study_with, study_uuid, monkeypatch, wandb_server
):
    sink = WandbSink(study_with(), driver.folder, study_uuid=study_uuid, mode=WandbMode.AUTO)
    monkeypatch.delenv("WANDB_API_KEY")
    driver.run(0, TrialState.COMPLETE, NullTracker())
    sink.complete("0000")
    assert sink.close(30) == []
    marker = read_marker(driver.folder.marker("0000", "wandb"))
    assert (marker.mode, marker.complete) == ("online", True)
