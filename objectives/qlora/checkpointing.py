"""When a checkpoint is worth its time."""

import time

_CHEAP_SECONDS = 0.05
_LARGEST_SHARE = 0.02


class CheckpointClock:
    """Spends at most a fiftieth of the time on checkpoints; small ones are always made.

    A large adapter's checkpoint holds gigabytes, which go through the host's memory to the driver's disk.
    """

    def __init__(self) -> None:
        """Nothing was made yet: the first is due, and shows what one costs."""
        self._cost, self._last = 0.0, 0.0

    @property
    def due(self) -> bool:
        """Whether the next evaluation should bring a checkpoint."""
        if self._cost <= _CHEAP_SECONDS:
            return True
        return time.perf_counter() - self._last >= self._cost / _LARGEST_SHARE

    def made(self, seconds: float) -> None:
        """Note what one took."""
        self._cost, self._last = seconds, time.perf_counter()
