"""The arrangement of a worker: chosen by prediction before the base is loaded, and again for what is free."""

import logging
import math
from dataclasses import dataclass, replace
from functools import partial

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.update_rules import state_bytes_per_number
from loratory.objectives.qlora.base.architecture import Architecture, read_configuration
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.memory.choose import Asked, TooSmall, choose, smallest
from loratory.objectives.qlora.memory.devices import gpu_of_device
from loratory.objectives.qlora.memory.durations import rates_of
from loratory.objectives.qlora.memory.engine_size import EngineSize, StackSize
from loratory.objectives.qlora.memory.facts import ModelFacts, model_facts, workload
from loratory.objectives.qlora.memory.host import host_memory_free
from loratory.objectives.qlora.memory.pace import study_seconds
from loratory.objectives.qlora.memory.predict import predict
from loratory.objectives.qlora.memory.ranks import largest_rank_that_fits
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec, Quantization
from loratory.spaces.study import StudySpec

# On a CPU larger passes gain little, since arithmetic limits them.
CPU_TOKENS = 1024
_CPU_SLOTS, _CPU_ROWS = 1, 32
_RESERVE_SHARE, _RESERVE_BYTES = 0.02, 2**28  # left free: the prediction may be under by this much
_CONTEXT_GROWTH = 2**27  # what a process takes beside tensors once kernels are compiled and graphs captured
_STEP = 0.93  # of the memory, that the next smaller arrangement may take after one has failed

_log = logging.getLogger(__name__)


def asked_of(study: StudySpec) -> Asked:
    """Return what a study file fixes of the arrangement."""
    assert study.model is not None
    checkpointing, packing = study.model.gradient_checkpointing, study.packing
    return Asked(
        slots=packing.slots,
        tokens_per_pass=packing.tokens_per_pass,
        hold_base=packing.cache_base,
        checkpointing=None if checkpointing == "auto" else checkpointing,
        optimizer_bits=packing.optimizer_bits,
        offload=packing.offload_optimizer,
        decodes=bool(study.metrics),
    )


def usable_bytes(free_bytes: int) -> int:
    """Return the memory that may be planned with, of what is free: the rest is a reserve."""
    return max(0, int(free_bytes * (1 - _RESERVE_SHARE)) - _RESERVE_BYTES)


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """An arrangement, and the adapters that have a place in it.

    Attributes:
        size: of the engine.
        stack: of the adapters; its rank may be below the largest of the space where that does not fit.
    """

    size: EngineSize
    stack: StackSize


class Admission:
    """Shares out the memory of a worker's device among slots, passes, graphs and cache.

    The memory model chooses; where an allocation fails nevertheless, `next_smaller` is asked.
    """

    def __init__(
        self,
        study: StudySpec,
        *,
        data: PreparedData,
        stack: StackSize,
        device: torch.device,
        dtype: torch.dtype,
        facts: ModelFacts | None,
    ) -> None:
        """Start before the base is loaded.

        Args:
            study: the study.
            data: the splits.
            stack: adapters of the largest rank.
            device: of the worker.
            dtype: compute dtype.
            facts: of the base; None on a CPU, where nothing is predicted.
        """
        self._study, self._stack, self._device, self._facts = study, stack, device, facts
        self._asked = asked_of(study)
        self._load = partial(workload, study, data, dtype=dtype)
        self._pace_rates = rates_of(gpu_of_device(device)) if device.type == "cuda" else None
        self._budget = 0

    @classmethod
    def before_loading(
        cls,
        study: StudySpec,
        *,
        reference: BaseReference,
        architecture: Architecture,
        data: PreparedData,
        stack: StackSize,
        device: torch.device,
        dtype: torch.dtype,
        loaded: bool = False,
    ) -> "Admission":
        """Refuse a base, before it is loaded, if not even the smallest trial would fit beside it.

        A base that is loaded already (`loaded`) is counted as memory that may be used.

        Raises:
            InputError: it does not fit.
        """
        assert study.model is not None
        if not loaded:
            free = free_memory(device, study)
            check_base_fits(study.model, architecture, free_bytes=free, compute_dtype=dtype)
        if device.type == "cpu":
            return cls(study, data=data, stack=stack, device=device, dtype=dtype, facts=None)
        longest = int(data.train.lengths.max())
        configuration = read_configuration(reference)
        facts = model_facts(study.model, reference, configuration, stack, dtype=dtype, longest=longest)
        admission = cls(study, data=data, stack=stack, device=device, dtype=dtype, facts=facts)
        admission.admit(context_bytes=_CONTEXT_GROWTH)
        return admission

    def loaded(self, model: PackedModel, *, cached: bool) -> Admitted:
        """Choose the arrangement for a base that is loaded.

        Args:
            model: the base.
            cached: whether answers are decoded through our cache, and not by transformers' `generate`.

        Raises:
            InputError: the study file asks for more than fits.
        """
        self._asked = replace(
            self._asked,
            packs=model.concatenates,
            graphs=model.fused_attention,
            apart_rows=None if cached else self._study.evaluation.batch_size,
        )
        if self._facts is None:
            size = _size_on_cpu(self._study, model, self._stack, cached=cached)
            return Admitted(size=size, stack=self._stack)
        stored = torch.cuda.memory_allocated(self._device)
        self._facts = replace(self._facts, base_bytes=max(stored, self._facts.base_bytes))
        return self.admit(context_bytes=_CONTEXT_GROWTH)

    def admit(self, *, context_bytes: int) -> Admitted:
        """Choose the arrangement for the memory that is free now.

        Raises:
            InputError: nothing fits.
        """
        facts = self._facts
        assert facts is not None
        held = torch.cuda.memory_allocated(self._device)
        self._budget = usable_bytes(int(_free_on_gpu(self._device, self._study)) + held)
        stack = self._stack

        def fits(rank: int) -> bool:
            load = self._load(stack=replace(stack, rank=rank))
            alone = smallest(facts, load, self._asked)
            return predict(facts, load, alone, context_bytes=context_bytes).total <= self._budget

        rank = largest_rank_that_fits(self._study, fits)
        if rank is not None and rank < stack.rank:
            stack = replace(stack, rank=rank)
        chosen = self._choose(stack, context_bytes)
        if isinstance(chosen, TooSmall):
            raise InputError(_refusal(chosen, self._study.model, self._asked))
        return Admitted(size=chosen, stack=stack)

    def next_smaller(self, failed: Admitted) -> Admitted | None:
        """Return the next smaller arrangement after one has run out of memory; None where there is none."""
        if self._facts is None:
            size = _smaller_on_cpu(failed.size, self._asked)
            return None if size is None else replace(failed, size=size)
        load = self._load(stack=failed.stack)
        least = smallest(self._facts, load, self._asked)
        if failed.size == least:
            return None
        tried = predict(self._facts, load, failed.size, context_bytes=_CONTEXT_GROWTH).total
        self._budget = int(_STEP * min(self._budget, tried))
        chosen = self._choose(failed.stack, _CONTEXT_GROWTH)
        size = least if isinstance(chosen, TooSmall) else chosen
        _log.warning("%s did not fit into the memory, %s is tried", failed.size, size)
        return replace(failed, size=size)

    def _choose(self, stack: StackSize, context_bytes: int) -> EngineSize | TooSmall:
        assert self._facts is not None and self._pace_rates is not None
        load = self._load(stack=stack)
        return choose(
            self._facts,
            load,
            self._asked,
            budget_bytes=self._budget,
            pace=lambda size: study_seconds(self._facts, load, size, self._pace_rates),  # type: ignore[arg-type]
            context_bytes=context_bytes,
        )


def free_memory(device: torch.device, study: StudySpec) -> int:
    """Return the bytes of a device that a study may use now."""
    return host_memory_free() if device.type == "cpu" else int(_free_on_gpu(device, study))


def check_base_fits(
    model: ModelSpec, architecture: Architecture, *, free_bytes: int, compute_dtype: torch.dtype
) -> None:
    """Refuse a base before it is loaded if its linear layers alone exceed the free memory.

    Raises:
        InputError: the base does not fit.
    """
    weights = sum(inputs * outputs for inputs, outputs in architecture.linear_layers.values())
    taken = {
        name: weights * format_of(name).bytes_per_weight(model, compute_dtype.itemsize)
        for name in Quantization
    }
    own = model.quantization
    if taken[own] > free_bytes:
        smaller = min(taken, key=lambda name: taken[name])
        remedy = "take a smaller base"
        if taken[smaller] < taken[own] and taken[smaller] <= free_bytes:
            remedy += f", or set model.quantization to {smaller} ({taken[smaller] / 2**30:.2f} GiB)"
        raise InputError(
            f"model.base: linear layers must fit into {free_bytes / 2**30:.2f} GiB, which are free on this "
            f"device, take {taken[own] / 2**30:.2f} GiB with model.quantization {own}; {remedy}"
        )


def _refusal(found: TooSmall, model: ModelSpec | None, asked: Asked) -> str:
    """Return why nothing fits, with the remedy."""
    assert model is not None
    parts = ", ".join(f"{name.replace('_', ' ')} {_gib(size)}" for name, size in _largest_terms(found))
    return (
        f"memory: the smallest arrangement must fit into {_gib(found.budget_bytes)}, which may be used on "
        f"this GPU, takes {_gib(found.terms.total)} ({parts}); "
        f"take {remedies(model, asked, most_slots=found.most_slots)}"
    )


def remedies(model: ModelSpec, asked: Asked, *, most_slots: int) -> str:
    """Return what may help where the smallest arrangement does not fit, settings of the file first.

    Args:
        model: the study's base.
        asked: what the file fixes.
        most_slots: the most slots that would fit; 0 if none.
    """
    if most_slots:
        return f"packing.slots: {most_slots} or fewer, a smaller base or a larger GPU"
    found = ["a smaller base", "a lower data.max_length, rank or evaluation.max_new_tokens"]
    fixed = {"slots": asked.slots, "tokens_per_pass": asked.tokens_per_pass}
    if named := [f"packing.{name}" for name, value in fixed.items() if value is not None]:
        found.insert(0, f"{' and '.join(named)} left out")
    if asked.hold_base:
        found.insert(0, "packing.cache_base: false")
    if asked.offload is False:
        found.insert(0, "packing.offload_optimizer left out")
    if asked.checkpointing is False:
        found.insert(0, "model.gradient_checkpointing: auto")
    if model.quantization is not Quantization.NF4:
        found.insert(0, "model.quantization: nf4")
    return f"{', '.join(found)} or a larger GPU"


def _largest_terms(found: TooSmall) -> list[tuple[str, int]]:
    return sorted(found.terms, key=lambda term: -term[1])[:3]


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _size_on_cpu(study: StudySpec, model: PackedModel, stack: StackSize, *, cached: bool) -> EngineSize:
    free = int(0.92 * host_memory_free())
    packing, slots = study.packing, 1
    if model.concatenates:
        slots = min(packing.slots or _CPU_SLOTS, study.trials)
    _check_slots_on_cpu(slots, stack.numbers_per_slot * _bytes_per_number(study, model), free)
    held = 0 if model.holds_base else model.held_bytes
    asked = asked_of(study)
    return EngineSize(
        slots=slots,
        tokens_per_pass=packing.tokens_per_pass or CPU_TOKENS,
        decoding_rows=_CPU_ROWS if cached else study.evaluation.batch_size,
        hold_base=0 < 4 * held < free if packing.cache_base is None else packing.cache_base,
        checkpointing=bool(asked.checkpointing),
        optimizer_bits=packing.optimizer_bits or 32,
        offload=bool(packing.offload_optimizer),
        graphs=False,
    )


def _check_slots_on_cpu(slots: int, bytes_per_slot: int, free: int) -> None:
    if slots * bytes_per_slot > free:
        raise InputError(
            f"packing.slots: must be at most {free // bytes_per_slot} on this device, where a slot takes "
            f"{bytes_per_slot / 2**30:.2f} GiB and {free / 2**30:.1f} GiB may be used, got {slots}; lower it "
            "or the rank"
        )


def _smaller_on_cpu(size: EngineSize, asked: Asked) -> EngineSize | None:
    """Return the next smaller arrangement: fewer rows, smaller passes, base not held, fewer slots."""
    if size.decoding_rows > 1:
        return replace(size, decoding_rows=size.decoding_rows // 2)
    if size.tokens_per_pass > 64:
        return replace(size, tokens_per_pass=max(64, size.tokens_per_pass // 2))
    if size.hold_base:
        return replace(size, hold_base=False)
    if not size.checkpointing and asked.checkpointing is None:
        return replace(size, checkpointing=True)
    return replace(size, slots=size.slots // 2) if size.slots > 1 else None


def _free_on_gpu(device: torch.device, study: StudySpec) -> float:
    """Return the bytes in this worker's share of the GPU that are free or reserved by the allocator."""
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_allocated(device)
    share = min(1.0, study.resources.gpus_per_worker or 1.0)
    return min(free + torch.cuda.memory_reserved(device) - held, total * share - held)


def _bytes_per_number(study: StudySpec, model: PackedModel) -> int:
    """Return a slot's bytes per number: master, gradient, optimiser, and copies for passes and scoring."""
    compute = torch.finfo(model.compute_dtype).bits // 8
    wide = max(4, compute)
    state = state_bytes_per_number(study.extremes_of("optimizer"), wide=wide)
    return math.ceil(2 * wide + state + (compute if compute < wide else 0) + compute)
