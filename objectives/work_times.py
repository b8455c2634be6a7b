"""How a worker spends its time, for the driver's account of where the time of a study went."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

_SECONDS_BETWEEN_TIMES = 1.0


class Part(StrEnum):
    """Kind of work on a worker's device."""

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
        """Count the time since the last lap as one of a part; idle time is what the driver misses."""
        now = time.perf_counter()
        if part is not Part.IDLE:
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


@dataclass
class WorkerTimes:
    """The time of one worker in one run of the driver.

    Attributes:
        worker: its number.
        seconds: from the beginning of the command to the end of the last trial or scoring.
        start_seconds: of these, until it was ready, after each time that it broke too.
        training_seconds: in training passes.
        scoring_seconds: in losses and answers.
        idle_seconds: all other: it waited for trials, for texts to be scored, or for the end.
        decoded_tokens: tokens of answers.
    """

    worker: int
    seconds: float = 0.0
    start_seconds: float = 0.0
    training_seconds: float = 0.0
    scoring_seconds: float = 0.0
    idle_seconds: float = 0.0
    decoded_tokens: int = 0


def append_times(path: Path, times: Sequence[WorkerTimes]) -> None:
    """Append a line per worker to a file."""
    with path.open("a") as file:
        for one in times:
            numbers = {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(one).items()}
            file.write(json.dumps(numbers) + "\n")


def read_times(path: Path) -> list[WorkerTimes]:
    """Read the times of all runs; a line that was cut short is left out."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            found.append(WorkerTimes(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found
