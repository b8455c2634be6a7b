"""Attention over sequences that stand one after the other in a pass, none seeing another."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn

from loratory.objectives.packing.context import PassContext

IMPLEMENTATION = "loratory_packed"
"""The name under which transformers finds `packed_attention`."""

# What a base may ask of its attention that is done here; anything else is refused.
_KNOWN = {
    "sliding_window",
    "is_causal",
    "position_ids",
    "use_cache",
    "cache_position",
    "logits_to_keep",
    "output_router_logits",
}


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """What one layer asks of attention in one pass.

    Attributes:
        query: [T, heads, width].
        key: [T, key heads, width].
        value: [T, key heads, width].
        scale: factor of the products.
        window: how far back a token sees, itself included; None for all the way.
        layer: number of the attention layer.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float
    window: int | None
    layer: int


class SequenceLayout(Protocol):
    """Which tokens see which."""

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Causal attention within each sequence: [T, heads, width]."""
        ...


def install_attention(model: Any, context: PassContext) -> None:
    """Let every attention layer of a transformers model follow the pass at hand.

    The model must choose `IMPLEMENTATION` too. No mask function is registered under that name, and so
    transformers builds no mask.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, packed_attention)
    for module in model.modules():
        if hasattr(module, "layer_idx"):
            module.pass_context = context


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **asked: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' attention interface: heads before tokens going in, after them coming out."""
    given = {name for name, value in asked.items() if not (value is None or value is False)}
    unknown = given - _KNOWN
    if unknown or attention_mask is not None or dropout:
        raise NotImplementedError(f"attention with {', '.join(sorted(unknown)) or 'a mask or dropout'}")
    if asked.get("is_causal") is False or not getattr(module, "is_causal", True):
        raise NotImplementedError("attention that is not causal")
    context: PassContext = module.pass_context  # type: ignore[assignment]
    assert context.attention is not None
    query_rows, key_rows, value_rows = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    call = AttentionCall(
        query=query_rows,
        key=key_rows,
        value=value_rows,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=asked.get("sliding_window"),
        layer=module.layer_idx,  # type: ignore[arg-type]
    )
    attended = context.attention.attend(call)
    return attended.view(query.shape[0], query.shape[2], *attended.shape[1:]), None


@dataclass(frozen=True)
class FlashLayout:
    """Flash attention over sequences of any length (Dao, 2023): on a GPU, in bf16 or fp16.

    Attributes:
        ends: int32 [S + 1], where sequences begin and end among all T tokens, padding included; trailing
            entries may repeat.
        longest: no sequence is longer.
    """

    ends: torch.Tensor
    longest: int

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """See `SequenceLayout`."""
        from torch.nn.attention.varlen import varlen_attn

        back = -1 if call.window is None else call.window - 1
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
            window_size=(back, 0),
            **groups,
        )
        return attended  # type: ignore[no-any-return]


@functools.cache
def _varlen_arguments() -> set[str]:
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    return set(inspect.signature(varlen_attn).parameters)


@dataclass(frozen=True)
class PaddedLayout:
    """Sequences as rows padded on the right, for attention alone: any device, any dtype.

    Attributes:
        rows: int64 [S, L], the flat place of each sequence's tokens; past its end, of its own first token,
            which no earlier token sees.
        back: int64 [T], where each token stands in the flattened rows.
    """

    rows: torch.Tensor
    back: torch.Tensor

    @classmethod
    def of(cls, ends: Sequence[int], device: torch.device) -> Self:
        """The layout of sequences that fill a pass between these ends; repeated ends are left out."""
        starts, lengths = np.array(ends[:-1]), np.diff(ends)
        starts, lengths = starts[lengths > 0], lengths[lengths > 0]
        place = np.arange(lengths.max())
        inside = place[None, :] < lengths[:, None]
        rows = np.where(inside, starts[:, None] + place, starts[:, None])
        return cls(torch.from_numpy(rows).to(device), torch.from_numpy(np.flatnonzero(inside)).to(device))

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """See `SequenceLayout`."""
        q, k, v = (x[self.rows].transpose(1, 2) for x in (call.query, call.key, call.value))
        # PyTorch's own grouped heads are missing or wrong in some of its kernels.
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        mask = _band(self.rows.shape[1], call.window, q.device)
        output = nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=call.scale
        )
        return output.transpose(1, 2).flatten(0, 1)[self.back]


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Which keys a query sees, bool [L, L]; None where causality is all there is to it."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < window)
