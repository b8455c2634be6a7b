"""What the layers of a base share in one pass: whose tokens stand where, and which adapters read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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


@dataclass(frozen=True, kw_only=True)
class DropoutKeys:
    """What decides about dropped numbers, see `dropout.py`.

    Attributes:
        tokens: int32 [T], a key for each token.
        thresholds: int32 [K], `levels` of each slot's probability.
    """

    tokens: torch.Tensor
    thresholds: torch.Tensor


@dataclass
class PassContext:
    """The pass at hand; one object, shared by all layers of a base.

    Attributes:
        stack: the adapters; None for the bare base.
        segments: whose tokens are where; needed with a stack.
        gradients: [K, P], what backward passes add to; None where nothing trains.
        dropout: None where nothing is dropped.
        attention: which tokens see which.
    """

    stack: AdapterStack | None = None
    segments: Segments | None = None
    gradients: torch.Tensor | None = None
    dropout: DropoutKeys | None = None
    attention: SequenceLayout | None = None
