import pytest

from loratory.objectives.records import (
    Attempt,
    AttemptEnd,
    FailureKind,
    Measurement,
    Provenance,
    TrialError,
    TrialRecord,
)
from loratory.search.attempts import begun, ended

SEEN = {"examples_seen": 1, "tokens_seen": 1, "elapsed_seconds": 1, "metrics": {}}


def record(*attempts: Attempt, reached: int = 0) -> TrialRecord:
    made = [Measurement(step=step, optimizer_steps=step, **SEEN) for step in range(1, reached + 1)]
    identity = {"study": "u", "key": "0000", "number": 0, "params": {}, "provenance": Provenance(seed=0)}
    return TrialRecord(**identity, attempts=list(attempts), measurements=made)


def test_an_attempt_without_an_end_was_interrupted():
    first = Attempt(attempt=1, started_at="8:00")
    interrupted = first.model_copy(update={"end": AttemptEnd.INTERRUPTED, "evaluations": 2})
    assert begun(record(first, reached=2), 2, "9:00") == [interrupted, Attempt(attempt=2, started_at="9:00")]


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        (None, AttemptEnd.FINISHED),
        (FailureKind.WORKER_LOST, AttemptEnd.WORKER_LOST),
        (FailureKind.CRASHED, AttemptEnd.OWN_FAULT),
        (FailureKind.OOM, AttemptEnd.OWN_FAULT),
        (FailureKind.DIVERGED, AttemptEnd.OWN_FAULT),
    ],
)
def test_the_attempt_under_way_ends_and_those_before_stay(kind, end):
    first = Attempt(attempt=1, started_at="8:00", end=AttemptEnd.PREEMPTED)
    error = TrialError(attempt=2, kind=kind, message="m") if kind else None
    got = ended(record(first, Attempt(attempt=2, started_at="9:00"), reached=3), error, "10:00")
    assert got[0] == first
    assert (got[1].end, got[1].ended_at, got[1].evaluations) == (end, "10:00", 3)
