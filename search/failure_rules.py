"""Rules on attempts that end without a score, which search and retraining share."""

import math

from loratory.objectives.events import Failed, Finished
from loratory.objectives.records import FailureKind, TrialError, TrialRecord

_LOST_BEFORE_ALONE = 2


def runs_alone(record: TrialRecord | None) -> bool:
    """Return whether a trial has lost so many workers that it may be what breaks them: it runs alone."""
    lost = [f for f in record.failures if f.kind is FailureKind.WORKER_LOST] if record else []
    return len(lost) >= _LOST_BEFORE_ALONE


def error_of(event: Failed) -> TrialError:
    """Return the error of a failed attempt, as records hold it."""
    return TrialError(
        attempt=event.attempt, kind=event.kind, message=event.message, traceback=event.traceback
    )


def is_final(event: Failed, record: TrialRecord, attempts: int) -> bool:
    """Return whether a trial has failed often enough; a worker lost with others does not count.

    Args:
        event: the failure.
        record: the trial before it.
        attempts: attempts that the study allows.
    """
    earlier = record.failures
    if event.kind is not FailureKind.WORKER_LOST:
        earlier = [failure for failure in earlier if failure.kind is not FailureKind.WORKER_LOST]
    return event.neighbours == 0 and len(earlier) + 1 >= attempts


def not_finite(event: Finished) -> Failed | None:
    """Return the failure of a trial whose scores are not all finite numbers; None where they are."""
    endless = {name: value for name, value in event.scores.aggregate.items() if not math.isfinite(value)}
    if not endless:
        return None
    message = f"scores on eval.select must be finite, got {endless}"
    return Failed(key=event.key, attempt=event.attempt, kind=FailureKind.DIVERGED, message=message)
