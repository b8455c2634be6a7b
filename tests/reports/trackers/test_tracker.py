import time

from loratory.objectives.records import TrialState
from loratory.reports.trackers.tracker import NullTracker, TrackerGroup, open_trackers


class Failing:
    def observe(self, event, record):
        raise RuntimeError("observe failed")

    def finished(self, record):
        raise RuntimeError("finished failed")

    def close(self, timeout_seconds):
        raise OSError("close failed")


class Counting:
    def __init__(self):
        self.calls = []

    def observe(self, event, record):
        self.calls.append(("observe", record.number))

    def finished(self, record):
        self.calls.append(("finished", record.number))

    def close(self, timeout_seconds):
        return [f"{len(self.calls)} calls"]


def test_a_tracker_that_raises_reaches_neither_the_caller_nor_the_others(driver):
    counting = Counting()
    tracker = TrackerGroup([Failing(), counting])
    driver.run(2, TrialState.COMPLETE, tracker, evaluations=2)
    assert counting.calls == [("observe", 2)] * 4 + [("finished", 2)]
    lines = tracker.close(1)
    assert lines[0] == "5 calls"
    assert lines[1:] == [
        "Failing: RuntimeError: observe failed",
        "Failing: RuntimeError: finished failed",
        "Failing: OSError: close failed",
    ]


class Slow(Counting):
    def close(self, timeout_seconds):
        time.sleep(0.3)
        return [timeout_seconds]


def test_all_trackers_have_one_time_to_close():
    first, second, third = TrackerGroup([Slow(), Slow(), Slow()]).close(0.5)
    assert first <= 0.5
    assert second <= 0.2
    assert third == 0.0


def test_a_study_without_tracking_has_a_tracker_that_does_nothing(driver, study_with, study_uuid):
    tracker = open_trackers(study_with(mode="off"), driver.folder, study_uuid)
    assert isinstance(tracker, NullTracker)
    driver.run(0, TrialState.COMPLETE, tracker)
    assert tracker.close(1) == []
    assert sorted(path.name for path in driver.folder.path.iterdir()) == ["trials"]
