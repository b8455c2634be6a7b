"""Where the time of a run went, by worker: start, training, scoring, and idle."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loratory.objectives.work_times import Part
from loratory.search.plan_view import duration_text

_PARTS = ("start", "training", "scoring", "idle")
_SHOWN_AS_SECONDS = 1000


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


@dataclass
class WorkLog:
    """Keeps the times of all workers, and writes them when the driver is done.

    Attributes:
        began: `time.monotonic()` at the beginning of the command.
    """

    began: float
    _times: dict[int, WorkerTimes] = field(default_factory=dict)
    _starting: dict[int, float] = field(default_factory=dict)

    def starting(self, workers: Iterable[int]) -> None:
        """Count the time of workers from the beginning as their start."""
        for number in workers:
            self._times[number] = WorkerTimes(worker=number)
            self._starting[number] = self.began

    def ready(self, number: int) -> None:
        """End the start of a worker."""
        self._end_start(number, time.monotonic())

    def worked(self, number: int, seconds: Mapping[str, float], *, decoded_tokens: int) -> None:
        """Add what a worker did."""
        times = self._times[number]
        times.training_seconds += seconds.get(Part.TRAINING, 0.0)
        times.scoring_seconds += seconds.get(Part.SCORING, 0.0)
        times.decoded_tokens += decoded_tokens

    def broke(self, number: int) -> None:
        """Let a worker start again."""
        self._starting.setdefault(number, time.monotonic())

    def end(self) -> list[WorkerTimes]:
        """Return the times of all workers up to now."""
        now = time.monotonic()
        for number, times in self._times.items():
            self._end_start(number, now)
            times.seconds = now - self.began
            known = times.start_seconds + times.training_seconds + times.scoring_seconds
            times.idle_seconds = max(0.0, times.seconds - known)
        return [*self._times.values()]

    def _end_start(self, number: int, now: float) -> None:
        if (since := self._starting.pop(number, None)) is not None:
            self._times[number].start_seconds += now - since


def append_times(path: Path, times: Sequence[WorkerTimes]) -> None:
    """Append a line per worker to a file."""
    with path.open("a") as file:
        for one in times:
            numbers = {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(one).items()}
            file.write(json.dumps(numbers) + "\n")


def times_text(times: Sequence[WorkerTimes]) -> str:
    """Return where the time went, in a line: of one worker, or the mean of several."""
    count = len(times)

    def mean(part: str) -> str:
        seconds = sum(getattr(one, f"{part}seconds") for one in times) / count
        return f"{seconds:.0f} s" if seconds < _SHOWN_AS_SECONDS else duration_text(seconds)

    parts = ", ".join(f"{mean(f'{name}_')} {name}" for name in _PARTS)
    decoded, scoring = sum(one.decoded_tokens for one in times), sum(one.scoring_seconds for one in times)
    rate = f"; {decoded / scoring:,.0f} tokens of answers per second of scoring" if decoded else ""
    of = "" if count == 1 else f" per worker, on average of {count}"
    return f"time: {mean('')}{of}: {parts}{rate}"
