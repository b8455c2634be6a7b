"""The search space as memory sees it: sizes of adapters at its corners, at random points and by rank."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.memory.engine_size import StackSize
from loratory.spaces.parameters import CategoricalParameter, FloatParameter, IntParameter
from loratory.spaces.study import StudySpec

SAMPLED = 1000
_SEED = 15


@dataclass(frozen=True, kw_only=True)
class AdapterPoint:
    """An adapter that a trial may have.

    Attributes:
        rank: its rank.
        target_modules: as the study file gives them.
        numbers: numbers of its row in a stack.
    """

    rank: int
    target_modules: str | tuple[str, ...]
    numbers: int


class AdapterSizes:
    """Numbers of an adapter by rank and target modules."""

    def __init__(self, study: StudySpec, architecture: Architecture) -> None:
        """Keep the study and the layers.

        Args:
            study: gives the space.
            architecture: the base's layers.
        """
        self._study, self._architecture = study, architecture
        self._known: dict[tuple[int, str | tuple[str, ...]], AdapterPoint] = {}
        self.targets = tuple(dict.fromkeys(map(_hashable, study.extremes_of("target_modules"))))

    def point(self, rank: int, target_modules: str | tuple[str, ...]) -> AdapterPoint:
        """Return the adapter of that rank on these modules."""
        key = rank, target_modules
        if key not in self._known:
            layers = self._architecture.layers_of(self._architecture.targets(target_modules))
            numbers = StackSize(layers=layers, rank=rank, dropout=False).numbers_per_slot
            self._known[key] = AdapterPoint(rank=rank, target_modules=target_modules, numbers=numbers)
        return self._known[key]

    @property
    def corners(self) -> tuple[AdapterPoint, AdapterPoint]:
        """The smallest and the largest adapter of the space."""
        ranks = self._study.extremes_of("rank")
        points = [self.point(rank, targets) for rank in (min(ranks), max(ranks)) for targets in self.targets]
        return min(points, key=_numbers), max(points, key=_numbers)

    @cached_property
    def sample(self) -> list[AdapterPoint]:
        """Adapters of random points of the space, the same in every plan."""
        draw = random.Random(_SEED)
        return [
            self.point(self._drawn("rank", draw), self._drawn("target_modules", draw)) for _ in range(SAMPLED)
        ]

    def too_large(self, fits: Callable[[AdapterPoint], bool]) -> Iterator[str]:
        """Yield phrases for the values that do not fit: `rank > 48 with target_modules all-linear`."""
        for targets in self.targets:
            beside = f" with target_modules {_words(targets)}" if len(self.targets) > 1 else ""
            ranks = self._ranks()
            fitting = [rank for rank in ranks if fits(self.point(rank, targets))]
            if not fitting:
                yield f"every rank from {ranks[0]} on{beside}"
            elif len(fitting) < len(ranks):
                yield f"rank > {max(fitting)}{beside}"

    def _ranks(self) -> list[int]:
        """Return the ranks of the space, in ascending order."""
        parameter = self._study.space.root.get("rank")
        if isinstance(parameter, IntParameter):
            return list(range(parameter.low, parameter.high + 1, parameter.step or 1))
        return sorted(self._study.extremes_of("rank"))

    def _drawn(self, name: str, draw: random.Random) -> Any:
        parameter = self._study.space.root.get(name)
        if parameter is None:
            return _hashable(self._study.extremes_of(name)[0])
        return _hashable(_value(parameter, draw))


def _value(parameter: CategoricalParameter | FloatParameter | IntParameter, draw: random.Random) -> Any:
    """Draw a value as a random sampler does: evenly, on the parameter's scale."""
    if isinstance(parameter, CategoricalParameter):
        return draw.choice(parameter.choices)
    if isinstance(parameter, FloatParameter):
        raise TypeError("memory depends on no parameter with a float range")
    if parameter.log:
        low, high = parameter.low - 0.5, parameter.high + 0.5
        return min(parameter.high, max(parameter.low, round(low * (high / low) ** draw.random())))
    return draw.choice(range(parameter.low, parameter.high + 1, parameter.step or 1))


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _words(targets: str | tuple[str, ...]) -> str:
    return targets if isinstance(targets, str) else f"[{', '.join(targets)}]"


def _numbers(point: AdapterPoint) -> int:
    return point.numbers
