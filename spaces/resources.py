"""Section `resources` of the study file: the workers and their devices."""

from typing import Annotated

from pydantic import Field

from loratory.spaces.frozen import Float, Frozen, Int


class ResourceSpec(Frozen):
    """Number of workers, and the resources of each."""

    workers: Annotated[Int, Field(ge=1)] | None = None
    """Workers, each with `packing.slots` trials at a time; null: one per GPU, or per share of the CPUs."""
    gpus_per_worker: Annotated[Float, Field(ge=0)] | None = None
    """GPUs per worker, at most 1, may be a fraction; null takes 1 if the cluster has GPUs, else 0."""
    cpus_per_worker: Float = Field(default=1, gt=0)
    """CPU cores per worker."""
    disk_gib: Annotated[Float, Field(gt=0)] | None = None
    """GiB for adapters and checkpoints of the study; above, the adapters of the worst trials are deleted,
    never one of the best five, and never scores, predictions or records. Null: no limit."""
