"""The decision which evaluations bring a checkpoint."""

import time

_CHEAP_SECONDS = 0.05
_LARGEST_SHARE = 0.02


class CheckpointClock:
    """Limits checkpoints to at most a fiftieth of the time; small ones are always made.

    The checkpoint of a large adapter holds gigabytes, which pass through main memory to the driver's disk.
    """

    def __init__(self) -> None:
        """Start without a checkpoint; the first one measures the cost."""
        self._cost: float | None = None
        self._taken, self._last = 0.0, float("-inf")

    def begin(self) -> bool:
        """Return True if the evaluation that begins now brings a checkpoint, which then counts as made."""
        now = time.perf_counter()
        if self._cost is None:
            due = self._last == float("-inf")
        else:
            due = self._cost <= _CHEAP_SECONDS or now - self._last >= self._cost / _LARGEST_SHARE
        if due:
            self._taken, self._last = 0.0, now
        return due

    def took(self, seconds: float) -> None:
        """Add to the time of the last checkpoint: first its copy, then, after the evaluation, its file."""
        self._taken += seconds
        self._cost = self._taken
