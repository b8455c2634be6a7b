"""Workers of a study: how many there are, and the devices of each."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.rules import broken_rule


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
