"""Attention over sequences that are concatenated in a pass; no sequence attends to another."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """The arguments of one attention layer in one pass.

    Attributes:
        query: [T, heads, width].
        key: [T, key heads, width].
        value: [T, key heads, width].
        scale: factor of the products of queries and keys.
        window: number of latest tokens that a token sees, itself included; None for all of its sequence.
        layer: index of the attention layer.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float
    window: int | None
    layer: int


class SequenceLayout(Protocol):
    """Attention over the sequences of a pass."""

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Compute causal attention within each sequence: [T, heads, width]."""
        ...


@dataclass(frozen=True)
class FlashLayout:
    """Flash attention over sequences of any length (Dao, 2023): on a GPU, in bf16 or fp16.

    Attributes:
        ends: int32 [S + 1], cumulative lengths of the sequences from 0 to T, padding included; trailing
            entries may repeat.
        longest: upper bound on the length of a sequence.
    """

    ends: torch.Tensor
    longest: int

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Compute causal attention within each sequence, see `SequenceLayout`."""
        from torch.nn.attention.varlen import varlen_attn

        earlier = -1 if call.window is None else call.window - 1
        groups: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in _varlen_arguments() else {}
        attended: Any = varlen_attn(
            call.query,
            call.key,
            call.value,
            self.ends,
            self.ends,
            self.longest,
            self.longest,
            scale=call.scale,
            window_size=(earlier, 0),
            **groups,
        )
        return attended  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DryLayout:
    """Attention on the meta device: allocates what flash attention does."""

    @staticmethod
    def attend(call: AttentionCall) -> torch.Tensor:
        """Allocate the result, see `SequenceLayout`."""
        from loratory.objectives.packing.kernels import dry

        return dry.attend(call)


@functools.cache
def _varlen_arguments() -> set[str]:
    """Return the names of the arguments that `varlen_attn` has in the installed PyTorch."""
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    return set(inspect.signature(varlen_attn).parameters)


@dataclass(frozen=True)
class PaddedLayout:
    """Attention over sequences that are unpacked into padded rows: any device, any dtype.

    Attributes:
        rows: int64 [S, L], indices of each sequence's tokens in the pass. Past a sequence's end the index is
            that of its first token; causal attention hides these columns from the sequence's own tokens.
        back: int64 [T], index of each token of the pass in the flattened rows.
    """

    rows: torch.Tensor
    back: torch.Tensor

    @classmethod
    def of(cls, ends: Sequence[int], device: torch.device) -> Self:
        """Build the layout from cumulative lengths, see `FlashLayout.ends`; empty sequences are left out."""
        starts, lengths = np.array(ends[:-1]), np.diff(ends)
        starts, lengths = starts[lengths > 0], lengths[lengths > 0]
        place = np.arange(lengths.max())
        inside = place[None, :] < lengths[:, None]
        rows = np.where(inside, starts[:, None] + place, starts[:, None])
        return cls(torch.from_numpy(rows).to(device), torch.from_numpy(np.flatnonzero(inside)).to(device))

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Compute causal attention within each sequence, see `SequenceLayout`."""
        q, k, v = (x[self.rows].transpose(1, 2) for x in (call.query, call.key, call.value))
        # `enable_gqa` of PyTorch is missing or wrong in some of its kernels.
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        mask = _band(self.rows.shape[1], call.window, q.device)
        output = nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=call.scale
        )
        return output.transpose(1, 2).flatten(0, 1)[self.back]


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Return the mask of a causal window, bool [L, L]; None where the window covers the whole length."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < window)
