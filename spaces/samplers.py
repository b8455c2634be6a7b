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


class SamplerSpec(NamedSpec):
    """A sampler, or its name alone."""

    name: SamplerName = SamplerName.TPE
    """tpe, random, grid, cmaes, gp or nsga2."""
    startup_trials: Annotated[Int, Field(ge=1)] | None = None
    """Random trials before the model of tpe, cmaes or gp begins; null takes Optuna's default."""
    population_size: Annotated[Int, Field(ge=2)] | None = None
    """Trials per generation of nsga2; null takes Optuna's default (50)."""
