"""The search space as memory and disk see it: ranks at its ends and at random points, and sizes of adapters.

Memory of a worker depends on the rank alone, since its stacks hold all layers that any trial adapts.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.memory.engine_size import StackSize
from loratory.objectives.qlora.memory.ranks import largest_rank_that_fits, numbers_per_rank
from loratory.spaces.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter
from loratory.spaces.study import StudySpec

SAMPLED = 1000
_SEED = 15


@dataclass(frozen=True, kw_only=True)
class SpaceSample:
    """Adapters of a search space.

    Attributes:
        smallest: the smallest rank.
        largest: the largest.
        ranks: ranks of random points, the same in every plan.
        numbers: numbers of their adapters, as files hold them, in the same order.
        numbers_per_rank: numbers of an adapter on the most layers that a trial adapts, per rank.
        numbers_per_slot: returns the numbers of a stack's row by its rank.
    """

    smallest: int
    largest: int
    ranks: tuple[int, ...]
    numbers: tuple[int, ...]
    numbers_per_rank: int
    numbers_per_slot: Callable[[int], int]

    def numbers_up_to(self, rank: int | None) -> tuple[float, int]:
        """Return the mean and the most numbers of an adapter of those that are trained.

        Args:
            rank: larger ones do not fit, so that no trial has them; None: all are trained.
        """
        limit = self.largest if rank is None else min(rank, self.largest)
        trained = [number for number, own in zip(self.numbers, self.ranks, strict=True) if own <= limit]
        if not trained:
            return 0.0, 0
        return sum(trained) / len(trained), limit * self.numbers_per_rank


def sample_space(study: StudySpec, architecture: Architecture, stack: StackSize) -> SpaceSample:
    """Draw random points of a search space.

    Args:
        study: gives the space.
        architecture: the base's layers.
        stack: layers that any trial adapts.
    """
    draw = random.Random(_SEED)
    per_rank = {targets: _numbers_per_rank(architecture, targets) for targets in _targets(study)}
    points = [(_drawn(study, "rank", draw), _drawn(study, "target_modules", draw)) for _ in range(SAMPLED)]
    ends = [int(rank) for rank in study.extremes_of("rank")]

    @cache
    def numbers_per_slot(rank: int) -> int:
        return StackSize(layers=stack.layers, rank=rank, dropout=stack.dropout).numbers_per_slot

    return SpaceSample(
        smallest=min(ends),
        largest=max(ends),
        ranks=tuple(rank for rank, _ in points),
        numbers=tuple(rank * per_rank[targets] for rank, targets in points),
        numbers_per_rank=max(per_rank.values()),
        numbers_per_slot=numbers_per_slot,
    )


def ranks_too_large(study: StudySpec, fits: Callable[[int], bool]) -> str | None:
    """Return a phrase for the ranks that do not fit, such as `rank > 48`; None if all do."""
    ranks = [int(rank) for rank in study.extremes_of("rank")]
    limit = largest_rank_that_fits(study, fits)
    if limit is None:
        return "every rank"
    fitting = [rank for rank in ranks if rank <= limit]
    parameter = study.space.root.get("rank")
    most = limit if isinstance(parameter, IntParameter) else max(fitting, default=limit)
    return None if limit >= max(ranks) else f"rank > {most}"


def _targets(study: StudySpec) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(map(_hashable, study.extremes_of("target_modules"))))


def _numbers_per_rank(architecture: Architecture, targets: str | tuple[str, ...]) -> int:
    return numbers_per_rank(architecture.layers_of(architecture.targets(targets)))


def _drawn(study: StudySpec, name: str, draw: random.Random) -> Any:
    parameter = study.space.root.get(name)
    return _hashable(study.extremes_of(name)[0] if parameter is None else _value(parameter, draw))


def _value(parameter: Parameter, draw: random.Random) -> Any:
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
