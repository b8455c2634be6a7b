"""Scorings that belong to no running trial: the untuned base, and the winner at the end."""

import time
from collections import deque
from collections.abc import Hashable

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import Score, Scored
from loratory.objectives.qlora.adapters.adapter import adapter_from_files
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.memory.device import device_name, peak_memory_bytes
from loratory.objectives.qlora.scoring.evaluation import Evaluation
from loratory.objectives.qlora.scoring.evaluator import Evaluator
from loratory.objectives.records import Resources


class OutsideScores:
    """What the driver wants scored, in the evaluator beside the copies of trials."""

    def __init__(self, evaluator: Evaluator, architecture: Architecture, data: PreparedData) -> None:
        """Nothing is wanted yet.

        Args:
            evaluator: scores adapters.
            architecture: the base's layers.
            data: the splits.
        """
        self._evaluator, self._architecture, self._data = evaluator, architecture, data
        self._wanted: deque[Score] = deque()
        self._begun: dict[Hashable, tuple[Score, float]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether the evaluator's key is of one of these."""
        return key in self._begun

    @property
    def any(self) -> bool:
        """Whether something is wanted that has no scores yet."""
        return bool(self._wanted or self._begun)

    def want(self, score: Score) -> None:
        """Note what the driver asks for."""
        self._wanted.append(score)

    def begin(self) -> None:
        """Hand what is wanted to the evaluator, as far as it has room."""
        while self._wanted and self._evaluator.has_room:
            score = self._wanted.popleft()
            key, examples = ("score", score.key), self._data.split(score.split)
            self._begun[key] = score, time.perf_counter()
            if score.adapter is None:
                self._evaluator.put_base(key, examples)
            else:
                adapter = adapter_from_files(self._architecture.linear_layers, score.adapter)
                self._evaluator.put(key, adapter.state, examples, scaling=adapter.scaling)

    def event(self, key: Hashable, evaluation: Evaluation) -> Scored:
        """The answer to the driver."""
        score, began = self._begun.pop(key)
        device = self._evaluator.pack.model.device
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
