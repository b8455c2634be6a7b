"""When a checkpoint is worth its time."""

import time

_CHEAP_SECONDS = 0.05
_LARGEST_SHARE = 0.02


class CheckpointClock:
    """Spends at most a fiftieth of the time on checkpoints; small ones are always made.

    A large adapter's checkpoint holds gigabytes, which go through the host's memory to the driver's disk.
    """

    def __init__(self) -> None:
        """Nothing was made yet: the first shows what one costs."""
        self._cost: float | None = None
        self._taken, self._last = 0.0, float("-inf")

    def begin(self) -> bool:
        """Whether the evaluation that begins now is to bring a checkpoint; it counts as made if so."""
        now = time.perf_counter()
        if self._cost is None:
            due = self._last == float("-inf")
        else:
            due = self._cost <= _CHEAP_SECONDS or now - self._last >= self._cost / _LARGEST_SHARE
        if due:
            self._taken, self._last = 0.0, now
        return due

    def took(self, seconds: float) -> None:
        """Add to what the last one takes: it is copied first, and written when the evaluation is done."""
        self._taken += seconds
        self._cost = self._taken
