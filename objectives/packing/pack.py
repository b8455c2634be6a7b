"""A pack: trials that train together on one base, each in a slot of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loratory.objectives.packing.arrangement import Room
from loratory.objectives.packing.dropout import levels
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.optimizer import SlotOptimizer
from loratory.objectives.packing.passes import HostPass, PassInputs, lay_out, nobodys_pass
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import PassShape, Piece, bucket_shape, exact_shape, rows_shape
from loratory.objectives.packing.slot_copy import SlotCopy, SlotState
from loratory.objectives.packing.stack import AdapterStack, AdapterState
from loratory.objectives.packing.update_rules import ADAMW, SlotRows, UpdateRule, joined_spans

# A block of tokens has one adapter. Kernels work best on more rows than the CPU, which pays for padding.
_GRANULE_GPU, _GRANULE_CPU = 32, 8
_MATRICES = "matrices"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an adapter trains with beside its learning rate.

    Attributes:
        scaling: LoRA's factor.
        dropout: probability that an adapter's input is dropped.
        weight_decay: decoupled.
        max_grad_norm: None turns clipping off.
        rule: the optimiser.
    """

    scaling: float
    dropout: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    rule: UpdateRule = ADAMW


class Pack:
    """K slots over one base. A pass takes sequences of any of them; an update is one slot's own.

    Attributes:
        model: the base.
        stack: the adapters.
        gradients: [K, P], of the batches that are under way.
        runner: runs the passes.
        granule: each slot's tokens are padded to a multiple of it.
    """

    def __init__(self, model: PackedModel, stack: AdapterStack, runner: PassRunner, *, dropout: bool) -> None:
        """An empty pack.

        Args:
            model: the base.
            stack: K empty adapters.
            runner: runs the passes.
            dropout: whether any trial may drop anything; where none does, masks are not computed.
        """
        self.model, self.stack, self.runner = model, stack, runner
        self.gradients = torch.zeros_like(stack.master)
        self.granule = _GRANULE_GPU if model.device.type == "cuda" else _GRANULE_CPU
        self._losses = stack.master.new_zeros(stack.slots)
        self._numbers = torch.arange(stack.slots, device=model.device).unsqueeze(1)
        self._thresholds = torch.zeros(stack.slots, dtype=torch.int32, device=model.device)
        self._dropout = dropout
        self._optimizers: dict[int, SlotOptimizer] = {}

    def put(self, slot: int, state: SlotState, settings: Settings) -> None:
        """Begin or go on to train an adapter in a free slot; nothing of the last trial is left in it."""
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
        )
        if state.moments:
            flat = {name: self._flat(value) for name, value in state.moments.items()}
            optimizer.restore(flat, state.scaler)
        self._optimizers[slot] = optimizer

    def _rows(self, slot: int) -> SlotRows:
        pairs = [self.stack.matrices(self.stack.master[:1], layer) for layer in self.stack.layers]
        return SlotRows(
            self.stack.master[slot],
            self.gradients[slot],
            spans_a=joined_spans(a for a, _ in pairs),
            spans_b=joined_spans(b for _, b in pairs),
        )

    def take(self, slot: int, like: AdapterState, *, moments: bool) -> SlotState:
        """A copy of what a slot holds, on the CPU.

        Args:
            slot: which.
            like: an adapter of the same names and shapes.
            moments: whether AdamW's are wanted too.
        """
        return self.copy(slot, like, moments=moments, on_cpu=True).fetch()

    def copy(self, slot: int, like: AdapterState, *, moments: bool, on_cpu: bool = False) -> SlotCopy:
        """The same copy, which another thread can fetch while the slot goes on.

        Args:
            slot: which.
            like: an adapter of the same names and shapes.
            moments: whether AdamW's are wanted too.
            on_cpu: copy there at once, where the device has no memory for it.
        """
        optimizer = self._optimizers[slot]
        rows = {_MATRICES: self.stack.master[slot]} | (optimizer.moments() if moments else {})
        if on_cpu:
            rows = {name: row.to("cpu") for name, row in rows.items()}
        parts = {
            name: self.stack.compact(row, like) if row.ndim else row.clone() for name, row in rows.items()
        }
        scaler = optimizer.scaler.state_dict() if moments else {}
        return SlotCopy(matrices=parts.pop(_MATRICES), moments=parts, scaler=scaler, like=like)

    def _flat(self, value: Any) -> torch.Tensor:
        return self.stack.flatten(value) if isinstance(value, dict) else value

    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self._optimizers.pop(slot, None)
        self.stack.clear(slot)
        self.forget_batch(slot)

    def optimizer(self, slot: int) -> SlotOptimizer:
        """The optimiser of a slot."""
        return self._optimizers[slot]

    def forget_batch(self, slot: int) -> None:
        """Drop what passes have added up for the slot since its last update."""
        self.gradients[slot].zero_()
        self._losses[slot].zero_()

    def train(self, pieces: Sequence[Piece]) -> HostPass:
        """Add gradients and losses of some sequences to those of their slots, without waiting for it.

        Args:
            pieces: ordered by slot; their weights include the slot's loss scale.
        """
        host = self.lay_out(pieces)
        self._losses += self.runner.run("train", host, self.train_work)
        return host

    def reserve(self, tokens: int, *, longest: int) -> None:
        """Make ready for passes of so many tokens, where they run in CUDA graphs: larger ones come first.

        Args:
            tokens: of the largest pass that is to come.
            longest: tokens of the longest sequence in it.
        """
        piece = Piece(slot=0, input_ids=range(longest), first=0, targets=range(longest))
        count = max(1, tokens // longest)
        shape = bucket_shape([piece] * count, slots=self.stack.slots, granule=self.granule)
        self.runner.reserve("train", shape, self.train_work)

    def update(self, slot: int, learning_rate: float) -> torch.Tensor:
        """Make the slot's update from what its passes have added up, and begin its next batch.

        Returns:
            fp32 or wider [2], loss of the batch and norm of its gradient before clipping; the loss is
            multiplied with the slot's loss scale.
        """
        norm = self._optimizers[slot].step(learning_rate)
        self.stack.refresh(slot)
        result = torch.stack([self._losses[slot], norm.to(self._losses.dtype)])
        self._losses[slot].zero_()
        return result

    def room(self, tokens: int) -> Room:
        """An empty pass of so many tokens."""
        return Room(tokens, granule=self.granule, apart=not self.model.concatenates)

    def lay_out(self, pieces: Sequence[Piece], *, slots: int | None = None) -> HostPass:
        """A pass of some sequences, ordered by slot, in a shape that suits the device."""
        shape = bucket_shape if self.runner.graphs else exact_shape
        if not self.model.concatenates:
            shape = rows_shape
        size: dict[str, Any] = {"slots": slots or self.stack.slots, "granule": self.granule}
        return lay_out(pieces, shape(pieces, **size))

    def train_work(self, inputs: PassInputs) -> torch.Tensor:
        """Forward and backward of a pass: gives the losses by slot [K].

        The layers add to `gradients` on the way back (`adapted.py`); `update` uses and clears a slot's row.
        """
        thresholds = self._thresholds if self._dropout else None
        with self.model.reading(inputs, self.stack, gradients=self.gradients, thresholds=thresholds):
            self.model.context.inputs = []
            loss, losses = self.model.losses(inputs)
            self.model.context.backward(loss)
        # A choice, not a product: what is not finite in one slot must not reach another.
        own = torch.where(inputs.target_slots == self._numbers, losses * inputs.weights, 0.0)
        return own.sum(1)


def activation_bytes_a_token(pack: Pack) -> int:
    """What a training pass takes for each of its tokens, measured on passes that are nobody's."""
    device, peaks = pack.model.device, []
    for tokens in (256, 512):
        inputs = nobodys_pass(
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
