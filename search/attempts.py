"""A trial's attempts as its record has them: when each began, when and how it ended."""

from loratory.objectives.records import Attempt, AttemptEnd, FailureKind, TrialError, TrialRecord


def begun(record: TrialRecord, attempt: int, now: str) -> list[Attempt]:
    """Return the attempts of a trial with one more; one that has no end was interrupted.

    Args:
        record: the trial before it.
        attempt: which one begins, from 1.
        now: UTC time, ISO 8601.
    """
    earlier = [_closed(entry, AttemptEnd.INTERRUPTED, record, None) for entry in record.attempts]
    return [*earlier, Attempt(attempt=attempt, started_at=now)]


def ended(record: TrialRecord, error: TrialError | None, now: str) -> list[Attempt]:
    """Return the attempts of a trial with the end of the one under way.

    Args:
        record: the trial.
        error: what went wrong; null where the trial came to its end.
        now: UTC time, ISO 8601.
    """
    return [_closed(entry, _end(error), record, now) for entry in record.attempts]


def _closed(entry: Attempt, end: AttemptEnd, record: TrialRecord, now: str | None) -> Attempt:
    if entry.end is not None:
        return entry
    reached = max((measurement.step for measurement in record.measurements), default=0)
    return entry.model_copy(update={"end": end, "ended_at": now, "evaluations": reached})


def _end(error: TrialError | None) -> AttemptEnd:
    if error is None:
        return AttemptEnd.FINISHED
    return AttemptEnd.WORKER_LOST if error.kind is FailureKind.WORKER_LOST else AttemptEnd.OWN_FAULT
