"""Build the Optuna sampler of a study, a new one for every ask."""

import math
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from loratory.search.unseen import UnseenSampler
from loratory.spaces.points import listed_values
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import derive_seed


def build_sampler(study: StudySpec, number: int) -> BaseSampler:
    """Build the sampler that suggests trial `number`.

    Optuna does not store a sampler's random state, so each ask gets a sampler seeded by study and trial. A
    resumed study then asks the same as an uninterrupted one with the same finished trials. The grid alone is
    shuffled by the study's seed, because its order must not change between trials. It repeats no point by
    itself; the others are kept from it.
    """
    if study.sampler.name is SamplerName.GRID:
        return GridSampler(grid(study), seed=study.seed)
    seed = derive_seed(study.seed, number)
    return UnseenSampler(_inner(study, seed), space=study.space.distributions(), seed=seed)


def _inner(study: StudySpec, seed: int) -> BaseSampler:
    startup = study.sampler.startup_trials
    options: dict[str, Any] = {} if startup is None else {"n_startup_trials": startup}
    match study.sampler.name:
        case SamplerName.TPE:
            return TPESampler(seed=seed, **options)
        case SamplerName.RANDOM:
            return RandomSampler(seed=seed)
        case SamplerName.CMAES:
            return CmaEsSampler(seed=seed, warn_independent_sampling=False, **options)
        case SamplerName.GP:
            return GPSampler(seed=seed, warn_independent_sampling=False, **options)
        case SamplerName.NSGA2:
            return NSGAIISampler(seed=seed, population_size=study.sampler.population_size or 50)
    raise ValueError(f"no such sampler: {study.sampler.name}")


def grid(study: StudySpec) -> dict[str, list[Any]]:
    """Return every value of every parameter, for the grid sampler."""
    return {name: _listed(distribution) for name, distribution in study.space.distributions().items()}


def _listed(distribution: BaseDistribution) -> list[Any]:
    values = listed_values(distribution)
    if values is None:
        raise TypeError(f"grid needs listed values, got {distribution}")
    return values


def trial_limit(study: StudySpec, *, infeasible: int = 0) -> int:
    """Return the largest number of trials: `trials`, or the points of a smaller grid.

    Args:
        study: the study.
        infeasible: number of points known to fit no worker; a grid has no others in their place.
    """
    points = grid_size(study)
    return study.trials if points is None else min(study.trials, points - infeasible)


def grid_size(study: StudySpec) -> int | None:
    """Return the number of points of the grid; None for other samplers."""
    if study.sampler.name is not SamplerName.GRID:
        return None
    return math.prod(len(values) for values in grid(study).values())
