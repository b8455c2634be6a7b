"""Number and shape of the workers that a cluster can hold; an error where Ray would wait for ever."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loratory.spaces.errors import InputError
from loratory.spaces.resources import ResourceSpec


@dataclass(frozen=True)
class WorkerShape:
    """The resources that one worker reserves.

    Attributes:
        gpus: GPUs, may be a fraction.
        cpus: CPU cores.
    """

    gpus: float
    cpus: float


def count_workers(wanted: ResourceSpec, nodes: Sequence[Mapping[str, float]]) -> tuple[WorkerShape, int]:
    """Compute shape and number of the workers.

    Args:
        wanted: section `resources` of the study file.
        nodes: resources of each living node, as Ray names them (`GPU`, `CPU`).

    Raises:
        InputError: no node holds one worker, or all together hold fewer than asked for.
    """
    gpus = wanted.gpus_per_worker
    if gpus is None:
        gpus = 1 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0
    shape = WorkerShape(gpus=gpus, cpus=wanted.cpus_per_worker)
    fitting = [_fitting(shape, node) for node in nodes]
    if not any(fitting):
        raise InputError(_too_large(shape, nodes))
    workers = wanted.workers or sum(fitting)
    if workers > sum(fitting):
        raise InputError(
            f"resources.workers must be at most {sum(fitting)}, as many as fit the nodes with {shape.gpus:g} "
            f"GPUs and {shape.cpus:g} CPUs each, got {workers}; lower it, or the share of a worker"
        )
    return shape, workers


def _fitting(shape: WorkerShape, node: Mapping[str, float]) -> int:
    limits = [node.get("CPU", 0) / shape.cpus]
    if shape.gpus > 0:
        limits.append(node.get("GPU", 0) / shape.gpus)
    # A third of a GPU must fit three times in spite of rounding.
    return int(min(limits) + 1e-6)


def _too_large(shape: WorkerShape, nodes: Sequence[Mapping[str, float]]) -> str:
    gpus = max((node.get("GPU", 0) for node in nodes), default=0)
    cpus = max((node.get("CPU", 0) for node in nodes), default=0)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = f" (CUDA_VISIBLE_DEVICES is {hidden!r})" if shape.gpus > gpus and hidden is not None else ""
    return (
        f"resources: a worker of {shape.gpus:g} GPUs and {shape.cpus:g} CPUs must fit a node, the largest "
        f"has {gpus:g} GPUs and {cpus:g} CPUs{hint}; lower gpus_per_worker or cpus_per_worker"
    )
