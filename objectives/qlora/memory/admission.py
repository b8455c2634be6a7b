"""Choice of slots and tokens per pass, by data, device and memory."""

import math
from dataclasses import dataclass, replace

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.packing.decoding.cache import rows_that_fit
from loratory.objectives.packing.decoding.decoder import cache_positions
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack, activation_bytes_per_token
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import SMALLEST_BUCKET, bucket_within, round_up
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.packing.update_rules import state_bytes_per_number
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.memory.engine_size import EngineSize, StackSize
from loratory.objectives.qlora.memory.facts import longest_prompt
from loratory.objectives.qlora.memory.host import host_memory_free
from loratory.spaces.errors import InputError
from loratory.spaces.model import Quantization
from loratory.spaces.study import StudySpec

# More than 8,192 tokens per pass hardly help: on one H200 they reach over 80% of the pace of 32,768.
_SATURATING_TOKENS, _MOST_TOKENS, _LEAST_TOKENS = 8192, 32_768, 1024
_MOST_SLOTS, _MOST_ROWS = 16, 512
# On a CPU larger passes gain little, since arithmetic limits them.
CPU_TOKENS = 1024
_CPU_SLOTS, _CPU_ROWS = 1, 32
_PASSES_SHARE, _CACHE_SHARE = 0.75, 0.2  # of the memory beside slots and base: for passes, and for decoding
_USABLE = 0.92  # of the free memory; the rest is for fragments and libraries


def wanted_slots(study: StudySpec, data: PreparedData) -> int:
    """Return the number of slots that keeps a GPU busy: their batches have `_SATURATING_TOKENS` in sum."""
    smallest = min(_batch_sizes(study)) * _mean_tokens(data)
    return max(1, min(_MOST_SLOTS, study.trials, math.ceil(_SATURATING_TOKENS / smallest)))


def largest_pass(study: StudySpec, data: PreparedData, size: EngineSize) -> int:
    """Return the largest pass to expect, in tokens: large batches in all slots, or a full pass."""
    batches = size.slots * max(_batch_sizes(study)) * _mean_tokens(data)
    return min(size.tokens_per_pass, math.ceil(1.25 * batches))


def _batch_sizes(study: StudySpec) -> tuple[float, ...]:
    return tuple(map(float, study.extremes_of("batch_size")))


def _mean_tokens(data: PreparedData) -> float:
    return int(data.train.lengths.sum()) / len(data.train)


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Free memory, and the needs of its users.

    Attributes:
        free_bytes: memory for slots, passes and the cache of decoding.
        bytes_per_slot: memory of one trial.
        bytes_per_token: memory of activations in a training pass.
        held_base_bytes: memory of the dequantised base; 0 if there is nothing to dequantise.
    """

    free_bytes: int
    bytes_per_slot: int
    bytes_per_token: int
    held_base_bytes: int


def measure_engine_size(
    study: StudySpec, data: PreparedData, model: PackedModel, size: StackSize, *, cached: bool = True
) -> EngineSize:
    """Choose the sizes that the study file leaves open, so that all fit into free memory.

    Args:
        study: the study.
        data: the splits.
        model: the base.
        size: sizes of the stacks.
        cached: whether answers are decoded through our cache, and not by transformers' `generate`.

    Raises:
        InputError: the study file asks for more than fits.
    """
    on_gpu = model.device.type == "cuda"
    memory = MemoryNeeds(
        free_bytes=int(_USABLE * (_free_on_gpu(model.device, study) if on_gpu else host_memory_free())),
        bytes_per_slot=round(size.numbers_per_slot * _bytes_per_number(study, model)),
        bytes_per_token=_measured_bytes_per_token(model, size) if on_gpu else 0,
        held_base_bytes=0 if model.holds_base else model.held_bytes,
    )
    if on_gpu:
        chosen = _size_on_gpu(study, data, model, memory, cached=cached)
    else:
        chosen = _size_on_cpu(study, model, memory)
    bits, offload = study.packing.optimizer_bits or 32, bool(study.packing.offload_optimizer)
    chosen = replace(chosen, optimizer_bits=bits, offload=offload)
    return chosen if cached else replace(chosen, decoding_rows=study.evaluation.batch_size)


def check_base_fits(
    study: StudySpec, architecture: Architecture, *, device: torch.device, compute_dtype: torch.dtype
) -> None:
    """Refuse a base before it is loaded if its linear layers alone exceed the free memory.

    Raises:
        InputError: the base does not fit.
    """
    assert study.model is not None
    free = _free_on_gpu(device, study) if device.type == "cuda" else host_memory_free()
    weights = sum(inputs * outputs for inputs, outputs in architecture.linear_layers.values())
    taken = {
        name: weights * format_of(name).bytes_per_weight(study.model, compute_dtype.itemsize)
        for name in Quantization
    }
    own = study.model.quantization
    if taken[own] > free:
        smaller = min(taken, key=lambda name: taken[name])
        remedy = "take a smaller base"
        if taken[smaller] < taken[own] and taken[smaller] <= free:
            remedy += f", or set model.quantization to {smaller} ({taken[smaller] / 2**30:.2f} GiB)"
        raise InputError(
            f"model.base: linear layers must fit into {free / 2**30:.2f} GiB, which are free on this device, "
            f"take {taken[own] / 2**30:.2f} GiB with model.quantization {own}; {remedy}"
        )


def _asked_slots(study: StudySpec, model: PackedModel) -> int | None:
    """Return the slots that the study asks for, at most one per trial; 1 if trials cannot be packed."""
    if not model.concatenates:
        return 1
    return None if study.packing.slots is None else min(study.packing.slots, study.trials)


def _size_on_gpu(
    study: StudySpec, data: PreparedData, model: PackedModel, memory: MemoryNeeds, *, cached: bool
) -> EngineSize:
    smallest_pass = memory.bytes_per_token * max(int(data.train.lengths.max()), _LEAST_TOKENS)
    # Half of the memory is left for passes, which keep the GPU busy.
    fit = max(1, (memory.free_bytes - smallest_pass) // (2 * memory.bytes_per_slot))
    slots = _asked_slots(study, model) or min(wanted_slots(study, data), fit)
    _check_slots(slots, memory, beside=smallest_pass)
    hold = study.packing.cache_base
    rest = memory.free_bytes - slots * memory.bytes_per_slot
    if hold is None:
        hold = 0 < memory.held_base_bytes <= rest - memory.bytes_per_token * _SATURATING_TOKENS
    rest -= memory.held_base_bytes if hold else 0
    return EngineSize(
        slots=slots,
        tokens_per_pass=study.packing.tokens_per_pass or tokens_that_fit(rest, memory.bytes_per_token),
        decoding_rows=_decoding_rows(study, data, model, slots, int(rest * _CACHE_SHARE))
        if study.metrics and cached
        else 0,
        hold_base=hold,
    )


def tokens_that_fit(free: float, bytes_per_token: int) -> int:
    """Return the largest bucketed pass, in tokens, that fits into a share of `free` bytes."""
    fitting = bucket_within(int(free * _PASSES_SHARE) // bytes_per_token, SMALLEST_BUCKET)
    return min(_MOST_TOKENS, max(_LEAST_TOKENS, fitting))


def _size_on_cpu(study: StudySpec, model: PackedModel, memory: MemoryNeeds) -> EngineSize:
    slots, hold = _asked_slots(study, model) or _CPU_SLOTS, study.packing.cache_base
    _check_slots(slots, memory, beside=0)
    return EngineSize(
        slots=slots,
        tokens_per_pass=study.packing.tokens_per_pass or CPU_TOKENS,
        decoding_rows=_CPU_ROWS,
        hold_base=0 < 4 * memory.held_base_bytes < memory.free_bytes if hold is None else hold,
    )


def _check_slots(slots: int, memory: MemoryNeeds, *, beside: int) -> None:
    """Refuse more slots than fit into memory.

    Raises:
        InputError: the slots do not fit.
    """
    if slots * memory.bytes_per_slot + beside > memory.free_bytes:
        fits = max(0, (memory.free_bytes - beside) // memory.bytes_per_slot)
        slot, other, free = (size / 2**30 for size in (memory.bytes_per_slot, beside, memory.free_bytes))
        passes = f" beside {other:.2f} GiB for a pass" if beside else ""
        raise InputError(
            f"packing.slots: must be at most {fits} on this device, where a slot takes {slot:.2f} GiB"
            f"{passes} and {free:.1f} GiB may be used, got {slots}; lower it or the rank"
        )


def _free_on_gpu(device: torch.device, study: StudySpec) -> float:
    """Return the bytes in this worker's share of the GPU that are free or reserved by the allocator."""
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_allocated(device)
    share = min(1.0, study.resources.gpus_per_worker or 1.0)
    return min(free + torch.cuda.memory_reserved(device) - held, total * share - held)


def _bytes_per_number(study: StudySpec, model: PackedModel) -> float:
    """Return a slot's bytes per number: master, gradient, optimiser, and copies for passes and scoring."""
    compute = torch.finfo(model.compute_dtype).bits // 8
    wide = max(4, compute)
    state = state_bytes_per_number(
        study.extremes_of("optimizer"),
        wide=wide,
        bits=study.packing.optimizer_bits or 32,
        offload=bool(study.packing.offload_optimizer) and model.device.type == "cuda",
    )
    return 2 * wide + state + (compute if compute < wide else 0) + compute


def _measured_bytes_per_token(model: PackedModel, size: StackSize) -> int:
    stack = AdapterStack(
        size.layers,
        slots=1,
        rank=min(8, size.rank),
        device=model.device,
        compute_dtype=model.compute_dtype,
    )
    runner = PassRunner(model.device, graphs=False)
    return activation_bytes_per_token(Pack(model, stack, runner, dropout=size.dropout))


def _decoding_rows(
    study: StudySpec, data: PreparedData, model: PackedModel, slots: int, bytes_free: int
) -> int:
    positions = cache_positions(
        longest_prompt=longest_prompt(data), max_new_tokens=study.evaluation.max_new_tokens
    )
    rows = rows_that_fit(model.model.config, positions=positions, dtype=model.compute_dtype, bytes=bytes_free)
    prompts = slots * max(len(data.dev), len(data.select), len(data.test))
    return min(_MOST_ROWS, rows, round_up(prompts, 16))
