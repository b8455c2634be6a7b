"""A sampler of points that fit a worker, for the time when another sampler finds none."""

import random
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from loratory.search.points import earlier_points, point_key
from loratory.search.trial_memory import Point, TrialMemory

_WALKS = 100
_DRAWS = 20


class FeasibleSampler(BaseSampler):
    """Makes a point that fits into the memory of a worker out of one that does not.

    It walks from the smallest point of the space: each parameter, in random order, takes its value of the
    point that does not fit if the walk still fits with it, else a random value with which it fits. So what
    takes no memory stays as the other sampler suggested it. No point comes twice if a hundred walks find
    another.
    """

    def __init__(self, memory: TrialMemory, *, like: Point, limit_bytes: int, seed: int) -> None:
        """Create the sampler of one trial.

        Args:
            memory: device memory of trials; the smallest one must fit.
            like: the point that does not fit.
            limit_bytes: device memory that the worker has for one trial.
            seed: the trial's seed.
        """
        self._memory, self._like, self._limit_bytes, self._seed = memory, like, limit_bytes, seed

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 (Optuna's signature)
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: a point fits or not as a whole."""
        return self._memory.space

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> Point:
        """Return a point that fits, one that no earlier trial has if there is one."""
        earlier = {point_key(search_space, point) for point in earlier_points(study, trial)}
        order, values = random.Random(self._seed), RandomSampler(seed=self._seed)
        point: Point = {}
        for _ in range(_WALKS):
            point = self._walk(study, trial, order=order, values=values)
            if point_key(search_space, point) not in earlier:
                break
        return point

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a random value of a parameter that is not in the space."""
        sampler = RandomSampler(seed=self._seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _walk(self, study: Study, trial: FrozenTrial, *, order: random.Random, values: BaseSampler) -> Point:
        point = dict(self._memory.smallest_point)
        for name in order.sample(list(point), len(point)):
            distribution = self._memory.space[name]
            drawn = (values.sample_independent(study, trial, name, distribution) for _ in range(_DRAWS))
            for value in (self._like[name], *drawn):
                if self._memory.bytes_of(point | {name: value}) <= self._limit_bytes:
                    point[name] = value
                    break
        return point
