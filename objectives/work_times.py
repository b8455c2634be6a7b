"""How a worker spends its time, for the driver's account of where the time of a study went."""

import time
from enum import StrEnum

_SECONDS_BETWEEN_TIMES = 1.0


class Part(StrEnum):
    """What a worker's device does."""

    TRAINING = "training"
    SCORING = "scoring"
    IDLE = "idle"


class WorkClock:
    """Adds up the seconds of each part. All of them are wall time on the host.

    A pass that was launched and not waited for counts where the host waits for it, so a step of scoring that
    follows training has the end of the last pass.
    """

    def __init__(self) -> None:
        """Start now."""
        self._seconds: dict[str, float] = {}
        self._last = self._taken = time.perf_counter()

    def lap(self, part: Part) -> None:
        """Count the time since the last lap as one of a part."""
        now = time.perf_counter()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
        self._last = now

    def take(self, *, now: bool) -> dict[str, float]:
        """Return the seconds by part since this last returned any.

        Args:
            now: return them at once; else not more often than about once per second.
        """
        if not self._seconds or not (now or self._last - self._taken >= _SECONDS_BETWEEN_TIMES):
            return {}
        seconds, self._seconds, self._taken = self._seconds, {}, self._last
        return seconds
