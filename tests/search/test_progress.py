import io
import time

import pytest
from rich.console import Console

from loratory.objectives.events import Failed, Progressed, Reported, Started
from loratory.objectives.records import (
    CurvePoint,
    FailureKind,
    Measurement,
    Provenance,
    Resources,
    TrialError,
    TrialRecord,
)
from loratory.search.display import FinishedLines, PlainLines, render
from loratory.search.progress import StudyProgress, clock, short
from loratory.spaces.trial import trial_key


def record(number: int = 3, **fields) -> TrialRecord:
    params = {"learning_rate": 0.00021234, "rank": 8}
    return TrialRecord(
        study="s",
        key=trial_key(number),
        number=number,
        params=params,
        provenance=Provenance(seed=0),
        **fields,
    )


def measurement(step: int, value: float) -> Measurement:
    return Measurement(
        step=step,
        optimizer_steps=10 * step,
        examples_seen=1,
        tokens_seen=1,
        elapsed_seconds=1.0,
        metrics={"rougeL": value},
    )


EVENTS = [
    Started(key="0003", attempt=1, optimizer_steps=40),
    Progressed(
        key="0003",
        attempt=1,
        points=(CurvePoint(optimizer_step=7, loss=2.5, learning_rate=1e-3, grad_norm=1.0, tokens_seen=9),),
    ),
    Reported(key="0003", attempt=1, measurement=measurement(1, 0.25), resources=Resources()),
]


@pytest.fixture
def progress(toy_study) -> StudyProgress:
    return StudyProgress(toy_study(), limit=10)


def drawn(progress: StudyProgress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(progress))
    return console.file.getvalue()


def test_the_live_view_shows_step_loss_metric_and_parameters(progress):
    for event in EVENTS:
        progress.observe(event, record())
    text = drawn(progress)
    for part in ("10/40", "2.500", "0.25", "learning_rate 0.000212", "0/10 trials", "-:-- left"):
        assert part in text, part
    progress.finished(record(state="COMPLETE", values=[0.31]))
    text = drawn(progress)
    assert "1/10 trials (1 COMPLETE)" in text
    assert "best rougeL 0.31 on select (trial 3)" in text
    assert "10/40" not in text


def test_the_live_view_shows_every_trial_of_a_pack_or_counts_those_that_do_not_fit(progress):
    for number in range(12):
        progress.observe(Started(key=trial_key(number), attempt=1, optimizer_steps=40), record(number))
    console = Console(file=io.StringIO(), width=100)
    console.print(render(progress, height=40))
    rows = [line for line in console.file.getvalue().splitlines() if "learning_rate" in line]
    assert [int(row.split()[0]) for row in rows] == list(range(12))
    console = Console(file=io.StringIO(), width=100)
    console.print(render(progress, height=10))
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 10
    assert "and 7 more at work" in lines[-2] and "0/10 trials" in lines[-1]


def test_the_live_view_of_many_trials_fits_into_a_terminal_of_80_columns(progress):
    many = record().params | {"batch_size": 8, "rank": 16, "epochs": 1, "dropout": 0.05}
    for number in range(20):
        started = Started(key=trial_key(number), attempt=1, optimizer_steps=40)
        progress.observe(started, record(number).model_copy(update={"params": many}))
    console = Console(file=io.StringIO(), width=80)
    console.print(render(progress, height=24))
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 24
    assert "learning_rate" in lines[1] and "…" in lines[1]
    assert "and 1 more at work" in lines[-2] and "0/10 trials" in lines[-1]


def test_a_trial_that_waits_for_another_worker_is_not_shown_as_running(progress):
    for event in EVENTS:
        progress.observe(event, record())
    lost = Failed(key="0003", attempt=1, kind=FailureKind.WORKER_LOST, message="gone")
    progress.observe(lost, record())
    assert progress.running == {}


def test_an_evaluation_that_lags_behind_training_does_not_turn_the_bar_back(progress):
    for event in (EVENTS[0], EVENTS[1]):
        progress.observe(event, record())
    progress.running["0003"].done = 17
    progress.observe(EVENTS[2], record())
    assert (progress.running["0003"].done, progress.running["0003"].step) == (17, 1)


def test_the_best_follows_the_direction(toy_study):
    progress = StudyProgress(toy_study(metric="loss"), limit=10)
    for number, value in enumerate((0.5, 0.2, 0.9)):
        progress.finished(record(number, state="COMPLETE", values=[value]))
    assert progress.best is not None and progress.best.number == 1


def test_what_is_trained_again_is_counted_apart_and_never_the_best(toy_study):
    progress = StudyProgress(toy_study(), limit=2, retrainings=lambda: 3, started_at=0.0)
    progress.finished(record(0, state="COMPLETE", values=[0.5]))
    again = {"key": "confirm/0000-1", "number": None, "state": "COMPLETE", "values": [0.9]}
    progress.finished(record(0).model_copy(update=again))
    assert (progress.done, progress.retrained, progress.best.key) == (1, 1, "0000")
    assert "1/2 trials (1 COMPLETE)" in drawn(progress) and "1/3 retrained" in drawn(progress)
    progress.started_at = time.monotonic() - 10.0
    assert progress.seconds_left == pytest.approx(10.0 / 2 * (1 + 2), rel=0.01)


def test_infeasible_trials_do_not_count_towards_the_limit(progress):
    progress.finished(record(state="INFEASIBLE"))
    assert progress.done == 0


def test_a_resumed_trial_begins_its_bar_where_it_left_off(progress):
    progress.observe(EVENTS[0], record(attempt=2, measurements=[measurement(2, 0.1)]))
    assert progress.running["0003"].done == 20


@pytest.mark.parametrize("view", [PlainLines, FinishedLines])
def test_every_end_is_a_line_that_a_bracket_cannot_break(view, progress):
    console = Console(file=io.StringIO(), width=60)
    watcher = view(console, progress)
    for event in EVENTS:
        watcher.observe(event, record())
    watcher.finished(record(state="PRUNED", reason="median pruner: rougeL 0.1 at evaluation 2 [/red]"))
    last = console.file.getvalue().splitlines()[-1]
    assert "PRUNED" in last and last.endswith("evaluation 2 [/red]")


def test_a_trial_that_goes_on_is_not_called_a_failure(progress):
    console = Console(file=io.StringIO(), width=60)
    lines = PlainLines(console, progress)
    for attempt, measurements in ((1, []), (2, []), (3, [measurement(2, 0.1)])):
        started = Started(key="0003", attempt=attempt, optimizer_steps=40)
        lines.observe(started, record(attempt=attempt, measurements=measurements))
    error = TrialError(attempt=3, kind=FailureKind.CRASHED, message="killed")
    failed = Failed(key="0003", attempt=3, kind=error.kind, message=error.message)
    lines.observe(failed, record(attempt=3, failures=[error]))
    said = [line.split(":")[0] for line in console.file.getvalue().splitlines()]
    assert said == [
        f"trial   3  {word}" for word in ("started", "started", "goes on", "failure 1, is tried again")
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (59.6, "1:00"), (61, "1:01"), (3661, "1:01:01")]
)
def test_time_is_short(seconds, text):
    assert clock(seconds) == text


def test_parameters_are_short():
    assert short({"learning_rate": 1.23456e-4, "target_modules": "all-linear"}) == (
        "learning_rate 0.000123 target_modules all-linear"
    )


def test_the_time_left_begins_with_the_plan_and_goes_over_to_the_pace(toy_study, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("loratory.search.progress.time.monotonic", lambda: now[0])
    progress = StudyProgress(toy_study(), limit=10, started_at=0.0, planned_seconds=lambda: 1000.0)
    assert progress.seconds_left == 1000
    now[0] = 50.0
    assert progress.seconds_left == 950
    progress.observe(Started(key=trial_key(3), attempt=1, optimizer_steps=100), record())
    progress.running[trial_key(3)].done = 50
    by_pace = 50 / 0.5 * 9.5
    assert progress.seconds_left == pytest.approx((950 + by_pace) / 2)
    progress.finished(record(state="COMPLETE", values=[0.5]))
    now[0] = 60.0
    assert progress.seconds_left == pytest.approx(60 * 9)
    assert StudyProgress(toy_study(), limit=10, planned_seconds=lambda: None).seconds_left is None
