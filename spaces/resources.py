"""Section `resources` of the study file: the workers and their devices."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.rules import broken_rule


class ResourceSpec(Frozen):
    """Number of workers, and the resources of each."""

    workers: Annotated[Int, Field(ge=1)] | None = None
    """Workers, each with `packing.slots` trials at a time; null: one per GPU, or per share of the CPUs."""
    gpus_per_worker: Annotated[Float, Field(ge=0)] | None = None
    """GPUs per worker, may be a fraction; null takes 1 if the cluster has GPUs, else 0."""
    cpus_per_worker: Float = Field(default=1, gt=0)
    """CPU cores per worker."""

    @model_validator(mode="after")
    def _whole_above_one(self) -> Self:
        gpus = self.gpus_per_worker
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise broken_rule("must be whole above 1", at=("gpus_per_worker",), value=gpus)
        return self
