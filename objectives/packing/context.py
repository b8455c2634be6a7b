"""What the layers of a base share in one pass: whose tokens stand where, and which adapters read them."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import torch

if TYPE_CHECKING:
    from loratory.objectives.packing.attention import SequenceLayout
    from loratory.objectives.packing.stack import AdapterStack


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


class SharedInput:
    """An input that several layers read: their backward passes add up its gradient in one buffer.

    Autograd would make a tensor for each layer and add them in kernels of their own.
    """

    def __init__(self, x: torch.Tensor) -> None:
        """Nobody has read it yet.

        Args:
            x: the input; it is not kept alive.
        """
        self._x = weakref.ref(x)
        self._readers = 0
        self.gradient: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether every layer that read it has given its part."""
        return self._readers == 0

    def is_of(self, x: torch.Tensor) -> bool:
        """Whether this is about `x`."""
        return self._x() is x

    def read(self) -> None:
        """Count a layer whose backward pass will come."""
        self._readers += 1

    def add(self, gradient: torch.Tensor) -> torch.Tensor | None:
        """Note the sum so far; the whole sum, for the last layer to give to autograd, else None."""
        self._readers -= 1
        self.gradient = gradient if self._readers else None
        return None if self._readers else gradient


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
