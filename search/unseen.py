"""A sampler that asks for no point twice while others are left."""

import itertools
import random
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from loratory.search.points import earlier_points, point_key
from loratory.spaces.points import count_points, listed_values

Point = dict[str, Any]

_DRAWS = 100
_MOST_LISTED = 1_000_000


class UnseenSampler(BaseSampler):
    """Takes the points of another sampler, and redraws one at random that an earlier trial has.

    Optuna's GP model is fitted to COMPLETE trials only. Told that a point was pruned, it asks for it again.
    In a study where no point comes twice, every point is that of the other sampler.
    """

    def __init__(self, inner: BaseSampler, *, space: Mapping[str, BaseDistribution], seed: int) -> None:
        """Wrap a sampler.

        Args:
            inner: the sampler, which suggests one trial.
            space: the whole search space, in the order in which its parameters are drawn.
            seed: the trial's seed, for the redraw.
        """
        self._inner, self._space, self._seed = inner, dict(space), seed

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 (Optuna's signature)
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: a point must be known as a whole to be compared."""
        return self._space

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002 (the space of the study)
    ) -> Point:
        """Return the inner sampler's point, or another one if an earlier trial has it."""
        open_names = [n for n, d in self._space.items() if n not in trial.params and not d.single()]
        point = self._draw(self._inner, study, trial, open_names)
        earlier = {self._key(params) for params in earlier_points(study, trial)}
        if self._key(trial.params | point) not in earlier:
            return point
        return self._redraw(study, trial, open_names, earlier) or point

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the inner sampler's value of a parameter that is not in the space."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on that a trial begins."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass on that a trial is over."""
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Pass on the wish for another random state."""
        self._inner.reseed_rng()

    def _draw(self, sampler: BaseSampler, study: Study, trial: FrozenTrial, names: Sequence[str]) -> Point:
        """Return a point as Optuna would draw it: jointly what the sampler can, the rest one by one."""
        if not names:
            return {}
        relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        return {
            name: relative[name]
            if name in relative
            else sampler.sample_independent(study, trial, name, self._space[name])
            for name in names
        }

    def _redraw(
        self, study: Study, trial: FrozenTrial, names: Sequence[str], earlier: Set[Hashable]
    ) -> Point | None:
        """Return a random point that no earlier trial has; None where none is left."""
        points = count_points(self._space)
        if points is not None and len(earlier) >= points:
            return None
        sampler = RandomSampler(seed=self._seed)
        for _ in range(_DRAWS):
            point = self._draw(sampler, study, trial, names)
            if self._key(trial.params | point) not in earlier:
                return point
        # Few are left. Of a space with more points, 100 draws have found one.
        return self._one_of_few(trial, names, earlier) if points and points <= _MOST_LISTED else None

    def _one_of_few(self, trial: FrozenTrial, names: Sequence[str], earlier: Set[Hashable]) -> Point | None:
        values = [listed_values(self._space[name]) or [] for name in names]
        candidates = (dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values))
        left = [point for point in candidates if self._key(trial.params | point) not in earlier]
        return random.Random(self._seed).choice(left) if left else None

    def _key(self, point: Point) -> Hashable:
        return point_key(self._space, point)
