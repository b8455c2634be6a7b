"""Stop a study whose trials all fail for the same reason."""

from loratory.objectives.events import Failed
from loratory.objectives.records import FailureKind

SAME_FAILURES = 3
INFEASIBLE_IN_A_ROW = 20


class FailureWatch:
    """Counts consecutive failures with the same cause.

    Three of them before any success stop the study, because the set-up is broken and not a trial. Trials that
    run out of memory inform the sampler, so twenty of them are needed, counted anew after each success. The
    driver counts lost workers.

    Args:
        any_success: whether a trial of an earlier run was trained and judged.
    """

    def __init__(self, *, any_success: bool) -> None:
        self._any_success = any_success
        self._cause = ""
        self._count = 0
        self.verdict: str | None = None

    def succeeded(self) -> None:
        """Record that a trial was trained and judged, by its score or by the pruner."""
        self._any_success = True
        self._cause, self._count = "", 0

    def failed(self, event: Failed) -> None:
        """Record that an attempt failed."""
        infeasible = event.kind is FailureKind.OOM
        if event.kind in (FailureKind.DIVERGED, FailureKind.WORKER_LOST):
            return
        if self._any_success and not infeasible:
            return
        cause = event.kind.value if infeasible else event.message
        self._count = self._count + 1 if cause == self._cause else 1
        self._cause = cause
        if self._count >= (INFEASIBLE_IN_A_ROW if infeasible else SAME_FAILURES):
            self.verdict = (
                f"{self._count} attempts in a row failed alike: {event.message}; "
                "mend the cause and run the same command again"
            )
