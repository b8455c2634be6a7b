"""Notes of a plan: what it guesses, changes or cannot know."""

from collections.abc import Iterator

from loratory.objectives.qlora.memory.devices import Gpu, gpu_named, others_named
from loratory.objectives.qlora.memory.disk import DiskBytes
from loratory.spaces.model import ComputeDtype
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec

_GIB = 2**30


def gpu_notes(name: str | None, gpu: Gpu | None) -> Iterator[str]:
    """Yield what was guessed or changed about a GPU.

    Args:
        name: as it was asked for; None: it was not named.
        gpu: the GPU that is planned with.
    """
    if name is None or gpu is None:
        return
    if others := others_named(name):
        yield f"--gpu {name} is taken as {gpu.name}; {', '.join(others)} would fit that name too"
    own = gpu_named(name).memory_bytes
    if gpu.memory_bytes > own:
        more = gpu.memory_bytes / _GIB
        yield f"{gpu.name} has {own / _GIB:.1f} GiB, the plan is for {more:.1f} as --memory says"


def study_notes(study: StudySpec, gpu: Gpu | None, *, gpus: int) -> Iterator[str]:
    """Yield what a plan does not take from a study file as it stands.

    Args:
        study: the study, as its file has it.
        gpu: the GPU that is planned with; None: none is known.
        gpus: number of them.
    """
    resources = study.resources
    share = 1.0 if resources.gpus_per_worker is None else resources.gpus_per_worker
    if gpu is not None and share == 0:
        yield "resources.gpus_per_worker is 0: workers of this file use no GPU, the plan has one on each"
    elif gpu is not None and share < 1:
        yield (
            f"resources.gpus_per_worker is {share:g}: the memory is that share of a GPU, and durations are "
            "those of a worker that has the GPU for itself"
        )
    if resources.workers is not None and share == 1 and resources.workers != gpus:
        yield f"resources.workers is {resources.workers}, the plan is for {gpus} as --gpus says"
    if gpus > study.trials:
        yield f"of {gpus} GPUs {gpus - study.trials} have nothing to train: there are {study.trials} trials"
    if gpu is not None and not gpu.has_bf16 and _model_dtype(study) is ComputeDtype.BF16:
        yield f"{gpu.name} has no bf16: set model.compute_dtype to auto, which takes fp16 there"


def grid_note(study: StudySpec, infeasible_share: float | None) -> Iterator[str]:
    """Yield that a grid has no other points in place of those that do not fit."""
    if infeasible_share and study.sampler.name is SamplerName.GRID:
        yield (
            "a grid has no other points in place of those that cannot fit: fewer trials may run than the "
            f"{study.trials} that are planned"
        )


def disk_note(study: StudySpec, needed: DiskBytes, kept: DiskBytes) -> Iterator[str]:
    """Yield what `resources.disk_gib` does to adapters.

    Args:
        study: the study.
        needed: bytes without a limit.
        kept: bytes with it.
    """
    limit, held = study.resources.disk_gib, kept.adapters + kept.checkpoints
    if limit is None:
        return
    if kept.adapters < needed.adapters:
        yield f"resources.disk_gib is {limit:g}: above it the adapters of the worst trials are deleted"
    if held > limit * _GIB:
        yield (
            f"resources.disk_gib is {limit:g}, less than checkpoints and the adapters of the best trials may "
            f"take, which are never deleted: {held / _GIB:.1f} GiB"
        )


def _model_dtype(study: StudySpec) -> ComputeDtype | None:
    return study.model.compute_dtype if study.model is not None else None
