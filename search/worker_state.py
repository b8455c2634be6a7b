"""What the driver knows of one worker."""

from dataclasses import dataclass, field

from loratory.objectives.events import Ready


@dataclass
class WorkerState:
    """A worker's trials, as key to attempt, and the scoring it is at.

    Attributes:
        ready: what it said of itself; null while it starts.
        was_ready: whether it, or one in whose place it is, ever was.
        trials: attempts that hold one of its slots.
        scoring: key of the scoring that it makes; null where it makes none.
        broken_in_a_row: how often it broke without getting any work done in between.
    """

    ready: Ready | None = None
    was_ready: bool = False
    trials: dict[str, int] = field(default_factory=dict)
    scoring: str | None = None
    broken_in_a_row: int = 0

    @property
    def idle(self) -> bool:
        """Whether it could take a scoring."""
        return self.ready is not None and not self.trials and self.scoring is None

    @property
    def free_slots(self) -> int:
        """How many trials it could take now."""
        if self.ready is None or self.scoring is not None:
            return 0
        return max(0, self.ready.slots - len(self.trials))

    def release(self, key: str, attempt: int) -> None:
        """An attempt has given its slot back."""
        if self.trials.get(key) == attempt:
            del self.trials[key]
