"""Segments: the slot that each token of a pass belongs to."""

import sys
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch


class Span(NamedTuple):
    """The tokens `start` to `end` of a pass, all of one slot."""

    slot: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Segments:
    """The slot of each token of a pass. Each slot's tokens are contiguous, slots are in ascending order.

    Attributes:
        granule: tokens per block; every span is a multiple of it. 0 where only `spans` is filled in.
        spans: one span per slot, for the plain kernels, which loop over slots. CUDA graphs do not read it.
        block_slots: int32 [T / granule], the slot of each block; -1 for blocks of padding.
        bounds: int32 [K, 2], start and end of each slot's tokens; equal for slots without tokens.
    """

    granule: int
    spans: tuple[Span, ...]
    block_slots: torch.Tensor
    bounds: torch.Tensor

    @classmethod
    def whole(cls, slot: int) -> Self:
        """Return segments that assign all tokens of a pass of any length to one slot; only `spans` is set."""
        nothing = torch.empty(0, dtype=torch.int32)
        return cls(granule=0, spans=(Span(slot, 0, sys.maxsize),), block_slots=nothing, bounds=nothing)
