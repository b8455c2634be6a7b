"""A pack: up to K trials that train together on one base, each in its own slot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loratory.objectives.packing.dropout import levels
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.moments import MomentStorage
from loratory.objectives.packing.optimizer import SlotOptimizer
from loratory.objectives.packing.pass_budget import PassBudget
from loratory.objectives.packing.passes import HostPass, PassInputs, lay_out
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import (
    PassShape,
    Piece,
    bucket_shape,
    exact_shape,
    granule_on,
    round_up,
    rows_shape,
)
from loratory.objectives.packing.slot_copy import SlotCopy, SlotState
from loratory.objectives.packing.stack import AdapterStack, AdapterState
from loratory.objectives.packing.update_rules import ADAMW, SlotRows, UpdateRule, joined_spans


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Training settings of an adapter besides its learning rate.

    Attributes:
        scaling: LoRA's factor.
        dropout: probability that an adapter's input is dropped.
        weight_decay: decoupled weight decay.
        max_grad_norm: gradients are clipped to this norm; None turns clipping off.
        rule: the optimiser.
    """

    scaling: float
    dropout: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    rule: UpdateRule = ADAMW


class Pack:
    """K slots over one base. A pass has sequences of any slots; an update changes one slot.

    `train` runs a pass: forward, then backward, in which every adapted layer adds its gradients to
    `gradients`. `update` applies the gradients of one slot, summed over the passes of its batch, and zeroes
    them.

    Attributes:
        model: the base.
        stack: the adapters.
        gradients: the gradients of all slots' unfinished batches.
        runner: runs the passes.
        granule: tokens per block; each slot's tokens are padded to a multiple of it.
    """

    def __init__(
        self,
        model: PackedModel,
        stack: AdapterStack,
        runner: PassRunner,
        *,
        dropout: bool,
        optimizer_bits: int = 32,
        offload: bool = False,
    ) -> None:
        """Start with empty slots.

        Args:
            model: the base.
            stack: K empty adapters.
            runner: runs the passes.
            dropout: whether any trial may use dropout; masks are computed only then.
            optimizer_bits: of each moment of an optimiser: 8, or 32 for the dtype of the master weights.
            offload: whether moments are kept in host memory, and come to the device for updates only.
        """
        self.model, self.stack, self.runner = model, stack, runner
        self.gradients = GradientSink(stack)
        self.granule = granule_on(model.device)
        self._losses = stack.master.new_zeros(stack.slots)
        self._numbers = torch.arange(stack.slots, device=model.device).unsqueeze(1)
        self._thresholds = torch.zeros(stack.slots, dtype=torch.int32, device=model.device)
        self._dropout = dropout
        self._storage = MomentStorage(stack.master, bits=optimizer_bits, offload=offload)
        self._optimizers: dict[int, SlotOptimizer] = {}

    def put(self, slot: int, state: SlotState, settings: Settings) -> None:
        """Put a new or continued adapter into a free slot; the state of the previous trial is overwritten."""
        if settings.dropout and not self._dropout:
            raise ValueError(f"dropout must be 0 in a pack made without it, got {settings.dropout}")
        self.stack.put(slot, state.matrices, scaling=settings.scaling)
        self._thresholds[slot].fill_(levels(settings.dropout))
        self._losses[slot].zero_()
        optimizer = SlotOptimizer(
            self._rows(slot),
            settings.rule,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            loss_scaling=self.model.compute_dtype is torch.float16,
            storage=self._storage,
        )
        if state.moments:
            flat = {name: self._flat(value) for name, value in state.moments.items()}
            optimizer.restore(flat, state.scaler)
        self._optimizers[slot] = optimizer

    def _rows(self, slot: int) -> SlotRows:
        pairs = [self.stack.matrices(self.stack.master[:1], layer) for layer in self.stack.layers]
        return SlotRows(
            self.stack.master[slot],
            self.gradients.flat[slot],
            spans_a=joined_spans(a for a, _ in pairs),
            spans_b=joined_spans(b for _, b in pairs),
        )

    def take(self, slot: int, like: AdapterState, *, moments: bool) -> SlotState:
        """Copy a slot's state to the CPU.

        Args:
            slot: the slot.
            like: an adapter of the same names and shapes.
            moments: whether to copy AdamW's moments too.
        """
        return self.copy(slot, like, moments=moments, on_cpu=True).fetch()

    def copy(self, slot: int, like: AdapterState, *, moments: bool, on_cpu: bool = False) -> SlotCopy:
        """Copy a slot's state on its device, for another thread to fetch while the slot trains on.

        Args:
            slot: the slot.
            like: an adapter of the same names and shapes.
            moments: whether to copy AdamW's moments too.
            on_cpu: copy to the CPU at once instead, where the device lacks the memory.
        """
        optimizer, row = self._optimizers[slot], self.stack.master[slot]
        matrices = self.stack.compact(row.to("cpu") if on_cpu else row, like)
        kept = optimizer.moment_rows(on_cpu=on_cpu) if moments else ()
        return SlotCopy(
            matrices=matrices,
            moments={n: self.stack.compact(row, like) if row.ndim else row.clone() for n, row in kept},
            scaler=optimizer.scaler.state_dict() if moments else {},
            like=like,
        )

    def _flat(self, value: Any) -> torch.Tensor:
        """Return a moment as a row [P]; the step count as it is."""
        return self.stack.flatten(value) if isinstance(value, dict) else value

    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self._optimizers.pop(slot, None)
        self.stack.clear(slot)
        self.forget_batch(slot)

    def optimizer(self, slot: int) -> SlotOptimizer:
        """Return the optimiser of a slot."""
        return self._optimizers[slot]

    def forget_batch(self, slot: int) -> None:
        """Zero the losses and gradients that passes have summed for a slot since its last update."""
        self.gradients.flat[slot].zero_()
        self._losses[slot].zero_()

    def train(self, pieces: Sequence[Piece]) -> HostPass:
        """Run a training pass, which adds losses and gradients to those of the sequences' slots.

        Does not wait for the device.

        Args:
            pieces: the sequences, ordered by slot; their weights include the slot's loss scale.
        """
        host = self.lay_out(pieces)
        self._losses += self.runner.run("train", host, self.train_work)
        return host

    def reserve(self, tokens: int, *, longest: int) -> None:
        """Capture the CUDA graph of the largest pass, before those of smaller passes, or run it once without.

        Args:
            tokens: tokens in the largest pass.
            longest: tokens of the longest sequence in it.
        """
        piece = Piece(slot=0, input_ids=range(longest), first=0, targets=range(longest))
        row = longest if self.model.concatenates else round_up(longest, self.granule)
        count = 1 if self.model.alone else max(1, tokens // row)
        shape = self._shape([piece] * count, slots=self.stack.slots)
        self.runner.reserve("train", shape, self.train_work)

    def update(self, slot: int, learning_rate: float) -> torch.Tensor:
        """Update a slot's adapter from the gradients summed in its row of `gradients`, and zero that row.

        Returns:
            fp32 or wider [2]: the loss of the batch, multiplied by the slot's loss scale, and the norm of its
            gradient before clipping.
        """
        # Allocated before the update: where memory ends here, nothing has changed, and the batch is repeated.
        result = self._losses.new_empty(2)
        norm = self._optimizers[slot].step(learning_rate)
        self.stack.refresh(slot)
        result[0].copy_(self._losses[slot])
        result[1].copy_(norm)
        self._losses[slot].zero_()
        return result

    def pass_budget(self, tokens: int) -> PassBudget:
        """Return the budget of an empty pass of at most `tokens` tokens."""
        tokens = 0 if self.model.alone else tokens  # into an empty pass any sequence fits
        return PassBudget(tokens, granule=self.granule, apart=not self.model.concatenates)

    def lay_out(self, pieces: Sequence[Piece], *, slots: int | None = None) -> HostPass:
        """Lay out some sequences, ordered by slot, as a pass in a shape that suits the device.

        Args:
            pieces: the sequences.
            slots: K of the stack that the pass reads; by default this pack's.
        """
        return lay_out(pieces, self._shape(pieces, slots=slots or self.stack.slots))

    def _shape(self, pieces: Sequence[Piece], *, slots: int) -> PassShape:
        """Return the shape of a pass of some sequences that suits the model and the device."""
        shape = bucket_shape if self.runner.graphs else exact_shape
        if not self.model.concatenates:
            shape = rows_shape
        return shape(pieces, slots=slots, granule=self.granule)

    def train_work(self, inputs: PassInputs) -> torch.Tensor:
        """Run a pass forward and backward, and return the losses by slot [K].

        In `current.backward` the layers (`linear.py`) add their gradients to `gradients`.
        """
        thresholds = self._thresholds if self._dropout else None
        with self.model.enter_pass(
            inputs, self.stack, gradients=self.gradients, thresholds=thresholds
        ) as current:
            loss, losses = self.model.losses(inputs)
            current.backward(loss)
        # `where` instead of a product with 0 and 1: a NaN in one slot must not reach another.
        own = torch.where(inputs.target_slots == self._numbers, losses * inputs.weights, 0.0)
        return own.sum(1)
