import time

import pytest

from loratory.objectives.work_times import append_times, read_times
from loratory.reports.work_time_words import times_text
from loratory.search.work_log import WorkLog


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def log_of_two(clock):
    """Worker 0 breaks once; worker 1 is never ready."""
    log = WorkLog(began=90.0)
    log.starting([0, 1])
    clock[0] = 130.0
    log.ready(0)
    log.worked(0, {"training": 20.0, "scoring": 5.0, "idle": 1.0}, decoded_tokens=600)
    clock[0] = 170.0
    log.broke(0)
    log.broke(0)
    clock[0] = 180.0
    log.ready(0)
    log.worked(0, {"scoring": 5.0}, decoded_tokens=400)
    clock[0] = 190.0
    return log.end()


def test_all_seconds_of_a_worker_are_told_once(clock, tmp_path):
    times = log_of_two(clock)
    first, second = times
    assert (first.start_seconds, first.training_seconds, first.scoring_seconds) == (50, 20, 10)
    assert first.idle_seconds == 20 and first.seconds == 100
    assert (second.start_seconds, second.idle_seconds) == (100, 0)
    append_times(tmp_path / "t.jsonl", times)
    append_times(tmp_path / "t.jsonl", times[:1])
    with (tmp_path / "t.jsonl").open("a") as file:
        file.write('{"worker": 1, "sec')
    assert read_times(tmp_path / "t.jsonl") == [*times, first] and first.decoded_tokens == 1000
    assert read_times(tmp_path / "none.jsonl") == []


def test_a_line_says_where_the_time_went(clock):
    first, second = log_of_two(clock)
    assert times_text([first]) == (
        "time: 100 s: 50 s start, 20 s training, 10 s scoring, 20 s idle; "
        "100 tokens of answers per second of scoring"
    )
    assert times_text([second, first]).startswith("time: 100 s per worker, on average of 2: 75 s start, 10 s")
    second.seconds = second.start_seconds = 7200
    assert times_text([second]) == "time: 120 min: 120 min start, 0 s training, 0 s scoring, 0 s idle"
