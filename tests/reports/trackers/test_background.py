import threading
import time

import pytest

from loratory.objectives.records import TrialState
from loratory.reports.trackers.background import BackgroundTracker
from loratory.reports.trackers.marker import Marker, write_marker


class RecordingSink:
    name = "Fake"
    marker = "fake"

    def __init__(self, failures=0):
        self.completed, self.updated, self.failures = [], [], failures
        self.hang = None

    def update(self, key):
        self.updated.append(int(key))

    def complete(self, key):
        if self.hang is not None and not self.hang.wait(30):
            return
        if self.failures:
            self.failures -= 1
            raise RuntimeError("disk is full")
        self.completed.append(int(key))

    def abort(self):
        self.failures = 99
        self.hang.set()

    def close(self, timeout_seconds):
        return ["closed"]


@pytest.mark.parametrize("state", [state for state in TrialState if state.finished])
def test_finished_trials_without_a_marker_are_written_at_start(driver, state, study_uuid):
    driver.run(0, state, evaluations=1)
    driver.run(1, state, evaluations=1)
    driver.start(2)
    write_marker(
        driver.folder.marker("0000", "fake"), Marker(id="x", mode="files", complete=True, state=state)
    )
    sink = RecordingSink()
    assert BackgroundTracker(sink, driver.folder).close(10) == ["closed"]
    assert (sink.completed, sink.updated) == ([1], [])


def test_a_trial_that_no_worker_was_given_is_not_written(driver):
    driver.run(0, TrialState.INFEASIBLE, evaluations=0)
    record = driver.folder.read_record("0000").model_copy(update={"memory_excess": 0.5, "attempts": []})
    driver.folder.write_record(record)
    sink = RecordingSink()
    tracker = BackgroundTracker(sink, driver.folder)
    tracker.finished(record)
    assert tracker.close(10) == ["closed"]
    assert sink.completed == []


def test_a_trial_that_could_not_be_written_is_tried_again(driver):
    sink = RecordingSink(failures=2)
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(0, TrialState.COMPLETE, tracker, evaluations=1)
    assert tracker.close(10) == ["closed"]
    assert sink.completed == [0]


def test_a_sink_that_always_fails_is_left_alone_and_said_so(driver):
    sink = RecordingSink(failures=1000)
    tracker = BackgroundTracker(sink, driver.folder, first_pause_seconds=0.001)
    for number in range(20):
        driver.run(number, TrialState.COMPLETE, tracker, evaluations=1)
    line, _ = tracker.close(30)
    assert "20 of its trials not written: RuntimeError: disk is full" in line
    assert sink.failures == 1000 - 6


def test_a_sink_that_hangs_delays_close_no_longer_than_asked(driver):
    sink = RecordingSink()
    sink.hang = threading.Event()
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(0, TrialState.COMPLETE, tracker, evaluations=1)
    driver.run(1, TrialState.COMPLETE, tracker, evaluations=1)
    started = time.monotonic()
    lines = tracker.close(0.5)
    assert time.monotonic() - started < 15
    assert any("the same command again writes what is missing" in line for line in lines)
    assert sink.completed == []


def test_damaged_records_stop_no_tracker(driver):
    driver.start(0)
    (driver.folder.trial("0000") / "record.json").write_text("{")
    sink = RecordingSink()
    tracker = BackgroundTracker(sink, driver.folder)
    driver.run(1, TrialState.COMPLETE, tracker, evaluations=1)
    tracker.close(10)
    assert sink.completed == [1]
