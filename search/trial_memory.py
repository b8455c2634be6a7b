"""Which trials fit which worker, by the objective's prediction of their device memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from loratory.objectives.events import Ready
from loratory.spaces.study import StudySpec

Point = dict[str, Any]
"""Values of all searched parameters, as Optuna stores them."""

_SWEEPS = 2


class Placement(Enum):
    """Where a trial fits."""

    HERE = "here"
    """On the worker that asks."""
    ELSEWHERE = "elsewhere"
    """On another worker that is there, or perhaps on one that is still starting."""
    NOWHERE = "nowhere"
    """On no worker that is there: it is infeasible."""


@dataclass(frozen=True, kw_only=True)
class Workforce:
    """The workers, as far as they are known.

    Attributes:
        ready: what each worker said that is ready, or that was ready and is being replaced.
        starting: whether others are still starting, which may have more memory.
    """

    ready: Sequence[Ready] = ()
    starting: bool = False

    @property
    def largest_bytes(self) -> int | None:
        """Most device memory that a worker has for one trial; None: no limit is known."""
        limits = [ready.trial_limit_bytes for ready in self.ready]
        known = [limit for limit in limits if limit is not None]
        return max(known) if known and len(known) == len(limits) else None

    @property
    def capacity(self) -> int:
        """Most trials that one worker accepts at once."""
        return max((ready.capacity for ready in self.ready), default=1)

    def place(self, needed_bytes: int, worker: Ready | None) -> Placement:
        """Return where a trial fits.

        Args:
            needed_bytes: its device memory.
            worker: the worker that asks; None: any.
        """
        if _fits(needed_bytes, worker.trial_limit_bytes if worker else self.largest_bytes):
            return Placement.HERE
        if self.starting or _fits(needed_bytes, self.largest_bytes):
            return Placement.ELSEWHERE
        return Placement.NOWHERE


def _fits(needed_bytes: int, limit_bytes: int | None) -> bool:
    return limit_bytes is None or needed_bytes <= limit_bytes


class TrialMemory:
    """Device memory of trials, as the objective predicts it.

    Args:
        study: the study.
        predict: bytes of a trial with these hyperparameters; None: every trial counts as 0 bytes and fits.
    """

    def __init__(self, study: StudySpec, predict: Callable[[Mapping[str, Any]], int] | None = None) -> None:
        self._study, self._predict = study, predict
        self.space = study.space.distributions()

    def bytes_of(self, point: Point) -> int:
        """Return the device memory of a trial at a point of the space, in bytes."""
        return self.bytes_of_settings(self._study.space.decode(point))

    def bytes_of_settings(self, params: Mapping[str, Any]) -> int:
        """Return the device memory of a trial with these values, as the study file writes them, in bytes."""
        if self._predict is None:
            return 0
        return self._predict(self._study.resolve(dict(params)).model_dump())

    @cached_property
    def smallest_point(self) -> Point:
        """The point that takes the least memory.

        Each parameter in turn takes that of its extremes which takes the least. Memory rises or falls with
        each parameter whatever the others are, so two sweeps find the least of all.
        """
        point = {name: _extremes(distribution)[0] for name, distribution in self.space.items()}
        for name, distribution in [*self.space.items()] * _SWEEPS:
            candidates = [point | {name: value} for value in _extremes(distribution)]
            point = min(candidates, key=self.bytes_of)
        return point

    @cached_property
    def smallest_bytes(self) -> int:
        """Device memory of the smallest trial of the space, in bytes."""
        return self.bytes_of(self.smallest_point)


def _extremes(distribution: BaseDistribution) -> list[Any]:
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case FloatDistribution() | IntDistribution():
            return [distribution.low, distribution.high]
    raise TypeError(f"unknown distribution {distribution}")
