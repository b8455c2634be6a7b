"""What the layers of a base share in one pass: whose tokens stand where, and which adapters read them."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import torch

if TYPE_CHECKING:
    from loratory.objectives.packing.attention import SequenceLayout
    from loratory.objectives.packing.stack import AdapterStack, Family


class Span(NamedTuple):
    """The tokens `start` to `end` of a pass, all of one slot."""

    slot: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Which tokens of a pass are whose: each slot's stand together, from the lowest slot up.

    Attributes:
        granule: every span is a multiple of so many tokens.
        spans: the spans themselves, for products that go from slot to slot; not read under a CUDA graph.
        block_slots: int32 [T / granule], the slot of each block; -1 where it is padding.
        bounds: int32 [K, 2], start and end of each slot's tokens; equal where it has none.
    """

    granule: int
    spans: tuple[Span, ...]
    block_slots: torch.Tensor
    bounds: torch.Tensor

    @classmethod
    def whole(cls, slot: int) -> Self:
        """All tokens of any pass are one slot's; its granule is 0, and only the spans are filled in."""
        nothing = torch.empty(0, dtype=torch.int32)
        return cls(granule=0, spans=(Span(slot, 0, sys.maxsize),), block_slots=nothing, bounds=nothing)


@dataclass(frozen=True, kw_only=True)
class DropoutKeys:
    """What decides about dropped numbers, see `dropout.py`.

    Attributes:
        tokens: int32 [T], a key for each token.
        thresholds: int32 [K], `levels` of each slot's probability.
    """

    tokens: torch.Tensor
    thresholds: torch.Tensor


class FamilyPass:
    """What layers that read one input do together: x A in one product, and its gradient in one more.

    Attributes:
        family: the layers.
        low: [T, n R], x A of all of them; kept until all have taken theirs.
        gradient: [T, n R], of `low`, as far as the layers have given theirs.
        takers: layers that have read.
        awaited: those of them whose gradient is still to come.
    """

    def __init__(self, family: Family) -> None:
        """Nobody has read yet."""
        self.family = family
        self.low: torch.Tensor | None = None
        self.gradient: torch.Tensor | None = None
        self.takers: set[str] = set()
        self.awaited: set[str] = set()

    def part(self, wide: torch.Tensor, layer: str) -> torch.Tensor:
        """A layer's columns [T, R] of the family's [T, n R]."""
        return wide.chunk(len(self.family.layers), dim=1)[self.family.layers.index(layer)]

    def take(self, layer: str, *, goes_back: bool) -> torch.Tensor:
        """A layer's x A, noting whether a gradient will come."""
        assert self.low is not None
        part = self.part(self.low, layer)
        if goes_back:
            self.awaited.add(layer)
        self.takers.add(layer)
        if len(self.takers) == len(self.family.layers):
            self.low = None
        return part

    def gradient_for(self, dy: torch.Tensor, *, rank: int) -> torch.Tensor:
        """Where the gradient goes; zeros for a layer that gives none."""
        if self.gradient is None:  # all are still awaited
            layers = len(self.family.layers)
            make = dy.new_empty if len(self.awaited) == layers else dy.new_zeros
            self.gradient = make(len(dy), layers * rank)
        return self.gradient


class SharedInput:
    """An input that several layers read: their backward passes add up its gradient in one buffer.

    Autograd would make a tensor for each layer and add them in kernels of their own.

    Attributes:
        wanted: whether there is to be one.
        gradient: the sum so far.
    """

    def __init__(self, x: torch.Tensor) -> None:
        """Nobody has read it yet.

        Args:
            x: the input; it is not kept alive.
        """
        self._x = weakref.ref(x)
        self._families: list[FamilyPass] = []
        self.wanted = False
        self.gradient: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether every layer that read it has given its part."""
        return not any(family.awaited for family in self._families)

    def is_of(self, x: torch.Tensor) -> bool:
        """Whether this is about `x`."""
        return self._x() is x

    def of(self, family: Family, *, layer: str) -> FamilyPass:
        """What a family does with it, begun anew where a layer comes a second time."""
        for known in self._families:
            if known.family == family and layer not in known.takers:
                return known
        self._families.append(FamilyPass(family))
        return self._families[-1]

    def take_sum(self) -> torch.Tensor | None:
        """The whole gradient, for the last layer to give to autograd, which owns it then; None before."""
        if not self.complete:
            return None
        whole, self.gradient = self.gradient, None
        return whole


@dataclass
class PassContext:
    """The pass at hand; one object, shared by all layers of a base.

    Attributes:
        stack: the adapters; None for the bare base.
        segments: whose tokens are where; needed with a stack.
        gradients: [K, P], what backward passes add to; None where nothing trains.
        dropout: None where nothing is dropped.
        attention: which tokens see which.
        shared: the input that was read last.
        inputs: all that were read in the forward pass at hand; None where nobody asks.
    """

    stack: AdapterStack | None = None
    segments: Segments | None = None
    gradients: torch.Tensor | None = None
    dropout: DropoutKeys | None = None
    attention: SequenceLayout | None = None
    shared: SharedInput | None = None
    inputs: list[SharedInput] | None = None

    def share(self, x: torch.Tensor) -> SharedInput:
        """What the layers that read `x` one after the other have in common."""
        if self.shared is None or not self.shared.is_of(x):
            self.shared = SharedInput(x)
            if self.inputs is not None:
                self.inputs.append(self.shared)
        return self.shared

    def anchor(self) -> torch.Tensor:
        """An input beside x: the first layers' x needs no gradient, their adapters do, and this says so."""
        assert self.stack is not None
        trains = torch.is_grad_enabled() and self.gradients is not None
        return self.stack.master.new_empty(0, requires_grad=trains)

    def backward(self, loss: torch.Tensor) -> None:
        """Go back through the forward pass at hand.

        Raises:
            RuntimeError: a layer's output does not reach the loss, and its neighbours' gradient is lost.
        """
        inputs, self.inputs = self.inputs or [], None  # what is computed again on the way back does not count
        loss.backward()  # type: ignore[no-untyped-call]
        if not all(shared.complete for shared in inputs):
            raise RuntimeError(
                "layers that read one input must all reach the loss, the output of one does not"
            )
