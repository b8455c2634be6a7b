"""The state of one worker as the driver knows it."""

from dataclasses import dataclass, field

from loratory.objectives.events import Ready
from loratory.objectives.study_folder import BASE


@dataclass
class WorkerState:
    """A worker's trials (key to attempt) and its current scoring.

    Attributes:
        ready: its own description; None while it starts.
        described: its last description, kept while it is replaced; None before the first.
        was_ready: whether it, or a worker that it replaced, was ever ready.
        trials: attempts that hold one of its slots.
        scoring: key of its current scoring; None if there is none.
        broken_in_a_row: how often it broke without finishing any work in between.
    """

    ready: Ready | None = None
    described: Ready | None = None
    was_ready: bool = False
    trials: dict[str, int] = field(default_factory=dict)
    scoring: str | None = None
    broken_in_a_row: int = 0

    @property
    def idle(self) -> bool:
        """True if it can take a scoring now."""
        return self.ready is not None and not self.trials and self.scoring is None

    @property
    def free_capacity(self) -> int:
        """Number of trials that it can take now; only the base is scored beside trials."""
        if self.ready is None or self.scoring not in (None, BASE):
            return 0
        return max(0, self.ready.capacity - len(self.trials))

    def release(self, key: str, attempt: int) -> None:
        """Note that an attempt is over."""
        if self.trials.get(key) == attempt:
            del self.trials[key]
