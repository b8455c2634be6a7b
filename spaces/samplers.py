"""Section `sampler` of the study file: how points of the search space are chosen."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from loratory.spaces.frozen import Int, NamedSpec


class SamplerName(StrEnum):
    """Optuna samplers that a study file may name."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    CMAES = "cmaes"
    GP = "gp"
    NSGA2 = "nsga2"


_STARTUP_TRIALS = {SamplerName.TPE: 10, SamplerName.GP: 10, SamplerName.CMAES: 1}
"""Optuna's defaults."""
_POPULATION = 50


class SamplerSpec(NamedSpec):
    """A sampler, or its name alone."""

    name: SamplerName = SamplerName.TPE
    """tpe, random, grid, cmaes, gp or nsga2."""
    startup_trials: Annotated[Int, Field(ge=1)] | None = None
    """Random trials before the model of tpe, cmaes or gp begins; null takes Optuna's default."""
    population_size: Annotated[Int, Field(ge=2)] | None = None
    """Trials per generation of nsga2; null takes Optuna's default (50)."""

    @property
    def random_trials(self) -> int | None:
        """Trials that are drawn at random before the sampler learns; None: all are."""
        if self.name in (SamplerName.RANDOM, SamplerName.GRID):
            return None
        if self.name is SamplerName.NSGA2:
            return self.population_size or _POPULATION
        return self.startup_trials or _STARTUP_TRIALS.get(self.name, 0)
