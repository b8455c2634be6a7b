"""Variant (c): the packed engine."""

import math
import time
from collections.abc import Hashable
from dataclasses import replace

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import OptimizerBatch, train_pass
from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.passes import padding_pass
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import SMALLEST_BUCKET, PassShape, bucket_within
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterStack, AdapterState
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.memory.admission import CPU_TOKENS
from loratory.objectives.qlora.updates import AsyncRead
from loratory.spaces.model import Quantization
from packing_cells.device_memory import DeviceMemory, peak_bytes, start_peak, synchronize
from packing_cells.measured import Measured, Options
from packing_cells.models import build_model, compute_dtype, linear_layers
from packing_cells.refill import refill_cost
from packing_cells.shapes import ModelShape
from packing_cells.trainer import ALPHA, LEARNING_RATE, RANK
from packing_cells.warmup import warm_up
from packing_cells.workload import Workload, trial_examples

SETTINGS = Settings(scaling=ALPHA / RANK, max_grad_norm=1.0)
_QUIET_PASSES, _QUIET_PASSES_OF_MANY_SHAPES = 6, 16
# Where the cost of refilling a slot is measured.
_REFILL_LOAD, _REFILL_SLOTS = "512", {"cuda": 8, "cpu": 4}

_MOST_TOKENS, _LEAST_TOKENS, _PASSES_SHARE = 32_768, 1024, 0.75  # of a pass, and of the free memory for it


def measure_ours(
    shape: ModelShape, workload: Workload, *, slots: int, steps: int, options: Options
) -> Measured:
    """Measure useful tokens per second of a pack.

    Args:
        shape: the model.
        workload: the data of each slot's trial.
        slots: K, the trials that train at once.
        steps: optimiser steps of each that are timed, after `options.warmup_steps`.
        options: device, warm-up, seed and whether the base is cached in bf16.
    """
    memory = DeviceMemory(options.device, context_bytes=options.context_bytes)
    pack = build_pack(shape, slots=slots, options=options)
    tokens = tokens_per_pass(pack)
    if workload.length is None:  # where lengths are equal all passes are, and one graph serves them
        most = min(tokens, int(1.5 * slots * workload.mean_tokens))
        pack.reserve(most, longest=min(most, shape.positions))
    run = PackRun(
        pack,
        shape,
        workload,
        steps=options.warmup_steps + steps,
        seed=options.seed,
        tokens_per_pass=tokens,
    )
    warmup = warm_up(
        run.advance,
        enough=lambda: run.updates >= options.warmup_steps * slots,
        captured=run.captured if pack.runner.graphs else None,
        quiet_passes=_QUIET_PASSES if workload.length is not None else _QUIET_PASSES_OF_MANY_SHAPES,
    )
    measured = _timed(run, steps=steps, options=options, memory=memory)
    details = {"warmup_passes": float(warmup), "base_held": float(pack.model.holds_base), **measured.details}
    refilled = slots == _REFILL_SLOTS[options.device.type] and workload.name == _REFILL_LOAD
    if refilled and options.cache_base is not False and options.quantization is Quantization.NF4:
        fresh = fresh_adapter(pack.model, seed=slots)
        # The engine has the next trial's adapter on the host.
        state = SlotState(matrices={name: matrix.cpu() for name, matrix in fresh.items()})
        details |= refill_cost(
            run.advance, lambda slot: run.refill(slot, state), slots=slots, device=options.device
        )
    return replace(measured, details=details)


def tokens_per_pass(pack: Pack) -> int:
    """Return the tokens of the largest pass that fits beside the pack."""
    device = pack.model.device
    if device.type == "cpu":
        return CPU_TOKENS
    # The moments of AdamW come with the first update.
    free = torch.cuda.mem_get_info(device)[0] - 2 * pack.gradients.flat.nbytes
    fitting = bucket_within(int(free * _PASSES_SHARE) // _activation_bytes_per_token(pack), SMALLEST_BUCKET)
    return min(_MOST_TOKENS, max(_LEAST_TOKENS, fitting))


def _activation_bytes_per_token(pack: Pack) -> int:
    """Measure how many bytes of GPU memory a training pass takes per token, on passes of padding."""
    device, peaks = pack.model.device, []
    for tokens in (256, 512):
        inputs = padding_pass(
            PassShape(
                tokens=tokens,
                sequences=4,
                longest=128,
                targets=tokens,
                slots=pack.stack.slots,
                granule=pack.granule,
            ),
            device,
        )
        pack.train_work(inputs)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        pack.train_work(inputs)
        peaks.append(torch.cuda.max_memory_allocated(device) - held)
    return max(1, (peaks[1] - peaks[0]) // 256)


def _timed(run: "PackRun", *, steps: int, options: Options, memory: DeviceMemory) -> Measured:
    """Time `steps` optimiser steps of every slot."""
    slots, graphs = run.slots, run.captured()
    tokens, updates, passes = run.tokens, run.updates, run.passes
    synchronize(options.device)
    start_peak(options.device)
    started = time.perf_counter()
    while run.updates < updates + steps * slots:
        run.advance()
    run.settle()
    synchronize(options.device)
    seconds = time.perf_counter() - started
    return Measured(
        tokens_per_second=(run.tokens - tokens) / seconds,
        trials=slots,
        steps=steps,
        seconds=seconds,
        peak_memory_bytes=peak_bytes(options.device),
        device_memory_bytes=memory.device_bytes(),
        details={
            "passes": float(run.passes - passes),
            "graphs_captured_while_timed": float(len(run.captured() - graphs)),
        },
    )


def build_pack(shape: ModelShape, *, slots: int, options: Options) -> Pack:
    """Build a pack on a random base and fill its slots."""
    packed = packed_model(shape, options=options)
    stack = AdapterStack(
        packed.layers,
        slots=slots,
        rank=RANK,
        device=options.device,
        compute_dtype=packed.compute_dtype,
    )
    pack = Pack(packed, stack, PassRunner(options.device, graphs=packed.fused_attention), dropout=False)
    for slot in range(slots):
        pack.put(slot, SlotState(matrices=fresh_adapter(packed, seed=slot)), SETTINGS)
    return pack


def packed_model(shape: ModelShape, *, options: Options) -> PackedModel:
    """Build a random base for packs; its matrices are held in bf16 unless `cache_base` is False."""
    model = build_model(shape, device=options.device, seed=0, quantization=options.quantization)
    layers = linear_layers(model)
    fuse(model)
    packed = PackedModel(
        model,
        layers,
        device=options.device,
        compute_dtype=compute_dtype(options.device),
        frozen_weight=format_of(options.quantization).frozen_weight,
    )
    if options.cache_base is not False and packed.held_bytes:
        packed.hold_base()
    return packed


def fresh_adapter(packed: PackedModel, *, seed: int) -> AdapterState:
    """Return an adapter with random A and zero B, on the base's device."""
    draw = torch.Generator(packed.device).manual_seed(seed)
    state: AdapterState = {}
    for name, (inputs, outputs) in packed.layers.items():
        bound = inputs**-0.5
        a = torch.empty(RANK, inputs, device=packed.device).uniform_(-bound, bound, generator=draw)
        state[f"base_model.model.{name}.lora_A.weight"] = a
        state[f"base_model.model.{name}.lora_B.weight"] = torch.zeros(outputs, RANK, device=packed.device)
    return state


class PackRun:
    """Trains every slot on its own examples; losses are read one pass later, as in the engine.

    Attributes:
        updates: of all slots.
        tokens: useful tokens of all passes, including those of incomplete steps.
        passes: number of passes.
    """

    def __init__(
        self,
        pack: Pack,
        shape: ModelShape,
        workload: Workload,
        *,
        steps: int,
        seed: int,
        tokens_per_pass: int,
    ) -> None:
        self._pack, self._size, self._tokens_per_pass = pack, workload.batch_size, tokens_per_pass
        # Slots begin anew at the end of their examples. Where lengths differ there are enough of them, or
        # shapes that came up in the warm-up would come up again.
        provided = steps if workload.length is not None else 3 * steps
        self._examples = [
            trial_examples(workload, shape, steps=provided, seed=1000 * seed + slot)
            for slot in range(pack.stack.slots)
        ]
        self._steps = [0] * pack.stack.slots
        self._batches = {slot: self._batch(slot) for slot in range(pack.stack.slots)}
        self._unread: AsyncRead | None = None
        self.updates = self.tokens = self.passes = 0

    def advance(self) -> None:
        """Make one pass, and the updates that are due after it."""
        turn = self.passes % self.slots  # the first has its turn in any case, as in the engine
        batches = {slot: self._batches[slot] for slot in (*range(turn, self.slots), *range(turn))}
        host = train_pass(self._pack, batches, tokens=self._tokens_per_pass)
        self.passes += 1
        # The last token of a sequence is only ever a target.
        self.tokens += host.useful_tokens + len(host.starts)
        results = []
        for slot, batch in list(self._batches.items()):
            if batch.done:
                results.append(self._pack.update(slot, LEARNING_RATE))
                self.updates += 1
                self._steps[slot] += 1
                self._batches[slot] = self._batch(slot)
        self.settle()
        self._unread = AsyncRead(torch.stack(results)) if results else None

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self._pack.stack.slots

    def captured(self) -> set[Hashable]:
        """Return the names of the captured graphs."""
        return set(self._pack.runner._captured)

    def refill(self, slot: int, state: SlotState) -> None:
        """Give a slot that is between two steps to another trial, which joins the next pass."""
        self._pack.clear(slot)
        self._pack.put(slot, state, SETTINGS)
        self._batches[slot] = self._batch(slot)

    def settle(self) -> None:
        """Read the last results; this waits for them, not for the pass that was launched since."""
        values = self._unread.values() if self._unread is not None else []
        if not all(math.isfinite(value) for result in values for value in result):
            raise RuntimeError("a loss or a gradient is not finite")
        self._unread = None

    def _batch(self, slot: int) -> OptimizerBatch:
        step = self._steps[slot] % (len(self._examples[slot]) // self._size)
        chosen: list[Example] = self._examples[slot][step * self._size : (step + 1) * self._size]
        return OptimizerBatch(chosen, seed=slot, step=step, dropout=False)
