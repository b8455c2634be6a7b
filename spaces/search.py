"""How points are chosen and trials pruned, and on what they run."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.rules import broken_rule


class SamplerName(StrEnum):
    """Optuna samplers that a study file may name."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    CMAES = "cmaes"
    GP = "gp"
    NSGA2 = "nsga2"


class PrunerName(StrEnum):
    """Optuna pruners that a study file may name."""

    MEDIAN = "median"
    PERCENTILE = "percentile"
    HYPERBAND = "hyperband"
    SUCCESSIVE_HALVING = "successive_halving"
    PATIENT = "patient"
    NONE = "none"


class _Named(Frozen):
    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class SamplerSpec(_Named):
    """A sampler; its name alone will do."""

    name: SamplerName = SamplerName.TPE
    """tpe, random, grid, cmaes, gp or nsga2."""
    startup_trials: Annotated[Int, Field(ge=1)] | None = None
    """Random trials before the model of tpe, cmaes or gp begins; null takes Optuna's default."""
    population_size: Annotated[Int, Field(ge=2)] | None = None
    """Trials per generation of nsga2; null takes Optuna's default (50)."""


class PrunerSpec(_Named):
    """A pruner; its name alone will do. Resources are counted in evaluations of the nominal grid."""

    name: PrunerName = PrunerName.MEDIAN
    """median, percentile, hyperband, successive_halving, patient or none."""
    startup_trials: Int = Field(default=5, ge=0)
    """median and percentile: finished trials before anything is pruned."""
    warmup_evaluations: Int = Field(default=1, ge=0)
    """median and percentile: evaluations of a trial before it may be pruned."""
    percentile: Float = Field(default=25.0, gt=0, lt=100)
    """percentile: keep a trial while it is among the best this many percent."""
    reduction_factor: Int = Field(default=3, ge=2)
    """hyperband and successive_halving: one in this many goes on to the next rung."""
    min_evaluations: Int = Field(default=1, ge=1)
    """hyperband and successive_halving: evaluations before the first rung."""
    patience: Int = Field(default=2, ge=0)
    """patient: evaluations without improvement before a trial is pruned."""
    min_delta: Float = Field(default=0.0, ge=0)
    """patient: how much counts as improvement."""


class ResourceSpec(Frozen):
    """What one worker takes, and how many run."""

    workers: Annotated[Int, Field(ge=1)] | None = None
    """Workers, each with `packing.slots` trials at a time; null takes one a GPU, or one a CPU share."""
    gpus_per_worker: Annotated[Float, Field(ge=0)] | None = None
    """GPUs of a worker, may be a fraction; null takes 1 where the cluster has GPUs, else 0."""
    cpus_per_worker: Float = Field(default=1, gt=0)
    """CPU cores of a worker."""

    @model_validator(mode="after")
    def _whole_above_one(self) -> Self:
        gpus = self.gpus_per_worker
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise broken_rule("must be whole above 1", at=("gpus_per_worker",), value=gpus)
        return self
