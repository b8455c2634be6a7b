"""The plan of a study: memory, arrangement, durations and disk, from its file and its base's sizes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.base.checks.configuration import refuse_by_configuration
from loratory.objectives.qlora.base.layers import find_text_part, linear_layers
from loratory.objectives.qlora.base.skeleton import build_skeleton
from loratory.objectives.qlora.memory.admission import asked_of, remedies, usable_bytes
from loratory.objectives.qlora.memory.afterwards import PlannedAfterwards, afterwards
from loratory.objectives.qlora.memory.bases import FoundConfiguration, find_configuration
from loratory.objectives.qlora.memory.choose import Asked, TooSmall, choose, most_slots, smallest
from loratory.objectives.qlora.memory.devices import Gpu, gpu_named, gpu_of_device, gpu_of_memory
from loratory.objectives.qlora.memory.disk import DiskBytes, disk_bytes, within_limit
from loratory.objectives.qlora.memory.durations import rates_of, study_durations
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.facts import ModelFacts, Workload, model_facts
from loratory.objectives.qlora.memory.pace import study_seconds
from loratory.objectives.qlora.memory.plan_data import known_workload, workload_of
from loratory.objectives.qlora.memory.plan_notes import disk_note, gpu_notes, grid_note, study_notes
from loratory.objectives.qlora.memory.predict import predict
from loratory.objectives.qlora.memory.ranks import largest_rank_that_fits
from loratory.objectives.qlora.memory.space_sample import SAMPLED, SpaceSample, ranks_too_large, sample_space
from loratory.objectives.qlora.memory.study_plan import (
    PlannedBase,
    PlannedData,
    PlannedSpace,
    PlannedTrial,
    PlannedWorker,
    StudyPlan,
)
from loratory.objectives.qlora.memory.terms import MemoryTerms
from loratory.spaces.errors import InputError
from loratory.spaces.model import ComputeDtype, ModelSpec, Quantization
from loratory.spaces.packing import trials_taken
from loratory.spaces.study import StudySpec

_COMMON_SIZES = (8, 12, 16, 24, 40, 48, 80)  # GiB
_GUESSED = "activations are a guess: the model's code cannot run without a device"
_SCORE_SPREAD = 0.56
"""Standard deviation of paired differences between trials, as a share of the score: the quickstart's."""


@dataclass(frozen=True, kw_only=True)
class _Study:
    """Facts of a study that a plan needs and that do not depend on the GPU.

    Attributes:
        spec: the study.
        facts: of its base.
        workload: of trials with the largest adapter.
        asked: what the file fixes.
        sample: of its space.
        data: what is known of the examples.
        known: memory of trials alone by rank, as it was asked for.
    """

    spec: StudySpec
    facts: ModelFacts
    workload: Workload
    asked: Asked
    sample: SpaceSample
    data: PlannedData
    known: dict[int, MemoryTerms] = field(default_factory=dict)

    @property
    def afterwards(self) -> PlannedAfterwards:
        """The work besides the trials."""
        data = self.data
        return afterwards(self.spec, select=data.select, confirm=data.confirm, test=data.test)

    def of_rank(self, rank: int) -> Workload:
        """Return the workload of a worker whose stacks have that rank."""
        return replace(self.workload, numbers_per_slot=self.sample.numbers_per_slot(rank))

    def alone(self, rank: int) -> MemoryTerms:
        """Return the memory of a trial alone in the smallest arrangement."""
        if rank not in self.known:
            workload = self.of_rank(rank)
            self.known[rank] = predict(self.facts, workload, smallest(self.facts, workload, self.asked))
        return self.known[rank]

    def largest_rank(self, budget: int) -> int | None:
        """Return the largest rank of a trial that fits alone into a budget; None where none does."""
        return largest_rank_that_fits(self.spec, lambda rank: self.alone(rank).total <= budget)


def plan_study(
    study: StudySpec,
    *,
    gpu: str | None = None,
    memory: str | None = None,
    gpus: int | None = None,
    runs: Path,
) -> StudyPlan:
    """Plan a study of objective qlora. No weights are read, nothing is fetched, no GPU is used.

    Args:
        study: the study.
        gpu: name of a GPU; None takes the one that is here.
        memory: its memory, in place of a name or beside one.
        gpus: number of such GPUs, with a worker on each; None: as the study file says, else one.
        runs: where study folders lie.

    Raises:
        InputError: GPU or memory are unknown, sizes of the base are, or nothing of the study fits.
    """
    named = _gpu(gpu, memory)
    return _plan(
        study,
        None if named is None else share_of(named, study),
        gpus=gpus or _gpus_of(study),
        known=partial(known_workload, runs=runs),
        notes=tuple(gpu_notes(gpu, named)),
    )


def plan_of_data(study: StudySpec, data: PreparedData, *, gpu: Gpu, gpus: int) -> StudyPlan:
    """Plan a study whose data is prepared.

    Args:
        study: the study.
        data: its splits.
        gpu: the GPU of each worker.
        gpus: number of workers.

    Raises:
        InputError: sizes of the base are unknown, or nothing of the study fits.
    """
    return _plan(study, gpu, gpus=gpus, known=partial(workload_of, data=data))


def _plan(
    written: StudySpec,
    named: Gpu | None,
    *,
    gpus: int,
    known: Callable[..., Any],
    notes: tuple[str, ...] = (),
) -> StudyPlan:
    study = written.with_workers(gpus)
    found = find_configuration(_model(study))
    dtype = _dtype(_model(study), named)
    given = _given(study, found, dtype=dtype, known=known)
    worker = None if named is None else _worker(given, named)
    if worker is not None and worker.size is None:
        raise InputError(_too_small(given, worker))
    common = () if named is not None else tuple(_worker(given, one) for one in _common_gpus())
    space = _space(given, worker.usable_bytes if worker else None)
    unlimited, disk = _disk(given, worker, gpus)
    return StudyPlan(
        study=study.name,
        trials=study.trials,
        gpus=gpus,
        base=_base(study, found, given.facts, dtype),
        data=given.data,
        space=space,
        worker=worker,
        common=common,
        afterwards=given.afterwards,
        disk=disk,
        smallest_difference=smallest_difference(given.data.select, study.trials),
        notes=(
            *notes,
            *([] if given.facts.counted else [_GUESSED]),
            *study_notes(written, named, gpus=gpus),
            *grid_note(study, space.infeasible_share),
            *disk_note(study, unlimited, disk),
        ),
    )


def smallest_difference(examples: int, trials: int) -> float:
    """Return about the smallest difference between two scores that an eval split can tell apart.

    A difference of (d + 0.84) s / sqrt(n) is seen with probability 0.8. d is the 95% quantile of the largest
    of the trials' differences, 2.5 at 12 trials and 2.95 at 64 (multiple comparisons with the best; Hsu,
    1984), s the standard deviation of paired differences.

    Args:
        examples: of eval.select.
        trials: number of trials.

    Returns:
        A share of the score.
    """
    beyond = 2.5 + (2.95 - 2.5) * math.log(max(2, trials) / 12) / math.log(64 / 12)
    return (max(1.96, beyond) + 0.84) * _SCORE_SPREAD / math.sqrt(max(1, examples))


def _model(study: StudySpec) -> ModelSpec:
    if study.model is None:
        raise InputError(f"objective {study.objective} has no base: there is no memory to plan")
    return study.model


def _gpu(name: str | None, memory: str | None) -> Gpu | None:
    """Return the GPU that is asked for, or the one that is here; None without one."""
    if name is not None:
        gpu = gpu_named(name)
        return gpu if memory is None else replace(gpu, memory_bytes=gpu_of_memory(memory).memory_bytes)
    if memory is not None:
        return gpu_of_memory(memory)
    return gpu_of_device(torch.device("cuda", 0)) if torch.cuda.is_available() else None


def _gpus_of(study: StudySpec) -> int:
    """Return the number of GPUs that the workers of a study file use together."""
    resources = study.resources
    return max(1, math.ceil((resources.workers or 1) * (resources.gpus_per_worker or 1.0)))


def share_of(gpu: Gpu, study: StudySpec) -> Gpu:
    """Return a GPU with the memory that one worker of a study may use, a share where workers share it."""
    share = min(1.0, study.resources.gpus_per_worker or 1.0)
    return gpu if share == 1 else replace(gpu, memory_bytes=int(share * gpu.memory_bytes))


def _common_gpus() -> Iterator[Gpu]:
    for gibibytes in _COMMON_SIZES:
        gpu = gpu_of_memory(f"{gibibytes}GiB")
        yield replace(gpu, name=f"{gibibytes} GiB")


def _dtype(model: ModelSpec, gpu: Gpu | None) -> torch.dtype:
    """Return the compute dtype, for a GPU that has bf16 where there is none."""
    if model.compute_dtype is ComputeDtype.FP32:
        return torch.float32
    has_bf16 = gpu is None or gpu.has_bf16
    half = model.compute_dtype is ComputeDtype.FP16 or (
        model.compute_dtype is ComputeDtype.AUTO and not has_bf16
    )
    return torch.float16 if half else torch.bfloat16


def _given(
    study: StudySpec, found: FoundConfiguration, *, dtype: torch.dtype, known: Callable[..., Any]
) -> _Study:
    refuse_by_configuration(found.configuration, found.reference.location)
    skeleton = build_skeleton(found.configuration, found.reference)
    architecture = _architecture(found, skeleton)
    stack = stack_size(study, architecture)
    workload, data = known(
        study,
        stack,
        dtype=dtype,
        reference=found.reference,
        max_positions=architecture.max_positions,
    )
    facts = model_facts(
        _model(study),
        found.reference,
        found.configuration,
        stack,
        dtype=dtype,
        longest=workload.longest_tokens,
        skeleton=skeleton,
    )
    return _Study(
        spec=study,
        facts=facts,
        workload=workload,
        asked=asked_of(study),
        sample=sample_space(study, architecture, stack),
        data=data,
    )


def _architecture(found: FoundConfiguration, model: Any) -> Architecture:
    """Return the base's layers without asking PEFT, which takes seconds to import."""
    layers, left_out = linear_layers(model, found.reference.location, find_text_part(model))
    text = found.configuration.get_text_config()
    return Architecture(
        name=found.reference.location,
        linear_layers=layers,
        max_positions=getattr(text, "max_position_embeddings", None),
        left_out=left_out,
        other_modules=tuple(name for name, _ in model.named_modules() if name and name not in layers),
    )


def _worker(given: _Study, gpu: Gpu) -> PlannedWorker:
    """Plan a worker: for the whole space, or for as much of it as fits."""
    budget = usable_bytes(gpu.memory_bytes)
    pace: Callable[..., float] = partial(_pace, given, gpu)
    rank = given.largest_rank(budget)
    workload = given.of_rank(rank or given.sample.smallest)
    chosen = choose(given.facts, workload, given.asked, budget_bytes=budget, pace=pace)
    if isinstance(chosen, TooSmall):
        return PlannedWorker(gpu=gpu, usable_bytes=budget, size=None, terms=chosen.terms, durations=None)
    scored = given.spec.evaluation.evaluations * given.data.dev + given.data.select
    durations = study_durations(
        given.facts,
        workload,
        chosen,
        gpu,
        scored_examples=scored,
        after=given.afterwards,
    )
    return PlannedWorker(
        gpu=gpu,
        usable_bytes=budget,
        size=chosen,
        terms=predict(given.facts, workload, chosen),
        durations=durations if gpu.speed_known else None,
    )


def _pace(given: _Study, gpu: Gpu, size: Any) -> float:
    return study_seconds(given.facts, given.workload, size, rates_of(gpu))


def _space(given: _Study, budget: int | None) -> PlannedSpace:
    sampled = sorted(given.alone(rank).total for rank in given.sample.ranks)
    share, too_large = None, None
    if budget is not None:
        share = sum(total > budget for total in sampled) / len(sampled)
        too_large = ranks_too_large(given.spec, lambda rank: given.alone(rank).total <= budget)
    ends = (given.sample.smallest, given.sample.largest)
    small, large = (PlannedTrial(params={"rank": rank}, terms=given.alone(rank)) for rank in ends)
    return PlannedSpace(
        smallest=small,
        largest=large,
        sampled=SAMPLED,
        quartiles=(sampled[0], *(round(value) for value in quantiles(sampled, n=4)), sampled[-1]),
        infeasible_share=share,
        infeasible=(too_large,) if too_large else (),
    )


def _disk(given: _Study, worker: PlannedWorker | None, gpus: int) -> tuple[DiskBytes, DiskBytes]:
    """Return the bytes of the study folder without and with the limit of the study file."""
    slots = worker.size.slots if worker is not None and worker.size is not None else 1
    limit = None if worker is None else given.largest_rank(worker.usable_bytes)
    mean, most = given.sample.numbers_up_to(limit)
    trials, retrainings = given.spec.trials, given.afterwards.retrainings
    needed = disk_bytes(
        trials=trials,
        running=gpus * trials_taken(slots),
        mean_numbers=mean,
        largest_numbers=most,
        select_examples=given.data.select,
        max_new_tokens=given.spec.evaluation.max_new_tokens if given.spec.metrics else 0,
        retrainings=retrainings,
        scored_examples=given.afterwards.scored_examples,
    )
    allowed = given.spec.resources.disk_gib
    if allowed is None:
        return needed, needed
    return needed, within_limit(
        needed, int(allowed * 2**30), largest_numbers=most, trials=trials, retrainings=retrainings
    )


def _base(study: StudySpec, found: FoundConfiguration, facts: ModelFacts, dtype: torch.dtype) -> PlannedBase:
    model = _model(study)
    return PlannedBase(
        name=model.base,
        sizes_from=found.source,
        quantization=model.quantization.value,
        compute_dtype=str(dtype).removeprefix("torch."),
        stored_bytes=facts.base_bytes,
        held_bytes=facts.held_bytes,
        counted=facts.counted,
    )


def _too_small(given: _Study, worker: PlannedWorker) -> str:
    """Return the sentence on a GPU that holds no trial of the study."""
    have = f"{worker.usable_bytes / 2**30:.1f} GiB that may be used of {worker.gpu.name}"
    if given.facts.base_bytes > worker.usable_bytes:
        model = _model(given.spec)
        smaller = "" if model.quantization is Quantization.NF4 else "model.quantization: nf4, "
        return (
            f"model.base: must fit into {have}, {model.base} in {model.quantization} takes "
            f"{given.facts.base_bytes / 2**30:.1f} GiB alone; take {smaller}a smaller base or a larger GPU"
        )
    workload = given.of_rank(given.sample.smallest)
    most = most_slots(given.facts, workload, given.asked, budget_bytes=worker.usable_bytes)
    what = f"{given.asked.slots} of the smallest trials at once" if most else "the smallest trial"
    return (
        f"packing: {what} must fit into {have}, {'take' if most else 'takes'} "
        f"{worker.terms.total / 2**30:.1f} GiB; "
        f"take {remedies(_model(given.spec), given.asked, most_slots=most)}"
    )
