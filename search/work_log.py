"""Where the time of a run went, by worker: start, training, scoring, and idle."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loratory.objectives.work_times import Part, WorkerTimes


@dataclass
class WorkLog:
    """Adds up the times of all workers in one run of the driver.

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
