"""Scores outside any running trial: of the untuned base, and of the winner at the end."""

import time
from collections import deque
from collections.abc import Hashable

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import Score, Scored
from loratory.objectives.qlora.adapters.adapter import adapter_from_files
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.memory.device import device_name, peak_memory_bytes
from loratory.objectives.qlora.scoring.evaluator import Evaluator, Result
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.records import Resources


class StudyScores:
    """Scorings that the driver requested; the evaluator does them beside the copies of trials."""

    def __init__(
        self, slots: Slots, evaluator: Evaluator, architecture: Architecture, data: PreparedData
    ) -> None:
        """Start with nothing to score.

        Args:
            slots: the slots of the worker.
            evaluator: scores adapters.
            architecture: the base's layers.
            data: the splits.
        """
        self._slots, self._evaluator = slots, evaluator
        self._architecture, self._data = architecture, data
        self._wanted: deque[Score] = deque()
        self._begun: dict[Hashable, tuple[Score, float]] = {}

    @property
    def any(self) -> bool:
        """True if a requested scoring is not done."""
        return bool(self._wanted or self._begun)

    def want(self, score: Score) -> None:
        """Note a scoring that the driver requests."""
        self._wanted.append(score)

    def begin(self) -> None:
        """Pass requested scorings to the evaluator, as far as it has room."""
        while self._wanted and self._evaluator.has_room:
            score = self._wanted.popleft()
            key, examples = ("score", score.key), self._data.split(score.split)
            self._begun[key] = score, time.perf_counter()
            if score.adapter is None:
                self._evaluator.put_base(key, examples)
            else:
                adapter = adapter_from_files(self._architecture.linear_layers, score.adapter)
                self._evaluator.put(key, adapter.state, examples, scaling=adapter.scaling)

    def event(self, result: Result) -> Scored:
        """Return the event that reports a result to the driver."""
        evaluation = result.evaluation()
        score, began = self._begun.pop(result.key)
        device = self._slots.pack.model.device
        return Scored(
            key=score.key,
            split=score.split,
            scores=evaluation.scores,
            predictions=evaluation.predictions,
            resources=Resources(
                device=device_name(device),
                gpu_seconds_attributed=time.perf_counter() - began,
                peak_memory_bytes_pack=peak_memory_bytes(device),
            ),
        )
