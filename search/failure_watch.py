"""Stop a study that cannot work, before it has failed all night."""

from loratory.objectives.events import Failed
from loratory.objectives.records import FailureKind

SAME_FAILURES = 3
INFEASIBLE_IN_A_ROW = 20


class FailureWatch:
    """Counts failures before the first success.

    Three in a row with one cause stop the study: it is the set-up that is broken, not a trial. Trials that
    run out of memory teach the sampler, so they get more patience.
    """

    def __init__(self) -> None:
        self._cause = ""
        self._count = 0
        self._any_success = False
        self.verdict: str | None = None

    def succeeded(self) -> None:
        """A trial was trained far enough to be judged."""
        self._any_success = True

    def failed(self, event: Failed) -> None:
        """An attempt failed."""
        if self._any_success or event.kind is FailureKind.DIVERGED:
            return
        infeasible = event.kind is FailureKind.OOM
        cause = event.kind if infeasible else f"{event.kind}: {event.message}"
        self._count = self._count + 1 if cause == self._cause else 1
        self._cause = cause
        if self._count >= (INFEASIBLE_IN_A_ROW if infeasible else SAME_FAILURES):
            self.verdict = (
                f"{self._count} attempts in a row failed before any trial succeeded: {event.message}; "
                "mend the cause and run the same command again"
            )
