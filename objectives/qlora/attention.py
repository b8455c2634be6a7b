"""Attention over sequences that stand one after the other in a lane, none seeing another."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

IMPLEMENTATION = "loratory_packed"
"""The name under which transformers finds `packed_attention`."""

# What a base may ask of its attention that is done here; anything else is refused.
_KNOWN = {"sliding_window", "is_causal", "position_ids", "use_cache", "cache_position", "logits_to_keep"}


class SequenceLayout(Protocol):
    """Which tokens see which."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, window: int | None
    ) -> torch.Tensor:
        """Causal attention within each sequence.

        Args:
            query: [K, T, heads, width].
            key: [K, T, key heads, width].
            value: [K, T, key heads, width].
            scale: factor of the products.
            window: how far back a token sees, itself included; None for all the way.

        Returns:
            [K, T, heads, width].
        """
        ...


@dataclass
class Route:
    """The layout of the pass at hand, shared by all attention layers of a base."""

    layout: SequenceLayout | None = None


def install_attention(model: Any, route: Route) -> None:
    """Make every attention layer of a transformers model follow a route, when `IMPLEMENTATION` is chosen."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, packed_attention)
    for module in model.modules():
        if hasattr(module, "layer_idx"):
            module.packing_route = route


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
    unknown = {name for name, value in asked.items() if name not in _KNOWN and value is not None}
    if unknown or attention_mask is not None or dropout:
        raise NotImplementedError(f"attention with {', '.join(sorted(unknown)) or 'a mask or dropout'}")
    if asked.get("is_causal") is False or not getattr(module, "is_causal", True):
        raise NotImplementedError("attention that is not causal")
    route: Route = module.packing_route  # type: ignore[assignment]
    assert route.layout is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    places = (x.transpose(1, 2) for x in (query, key, value))
    return route.layout.attend(*places, scale=scale, window=asked.get("sliding_window")), None


@dataclass(frozen=True)
class FlashLayout:
    """Flash attention over sequences of any length (Dao, 2023): on a GPU, in bf16 or fp16.

    Attributes:
        ends: int32 [S + 1], where sequences begin and end among all K x T tokens, padding included; trailing
            entries may repeat.
        longest: no sequence is longer.
    """

    ends: torch.Tensor
    longest: int

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, window: int | None
    ) -> torch.Tensor:
        """See `SequenceLayout`."""
        from torch.nn.attention.varlen import varlen_attn

        back = -1 if window is None else window - 1
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))
        groups: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in _varlen_arguments() else {}
        output = varlen_attn(
            q,
            k,
            v,
            self.ends,
            self.ends,
            self.longest,
            self.longest,
            scale=scale,
            window_size=(back, 0),
            **groups,
        )
        return output.view_as(query)  # type: ignore[union-attr]


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
        back: int64 [K * T], where each token stands in the flattened rows; padding stands for the first
            token of its own lane.
    """

    rows: torch.Tensor
    back: torch.Tensor

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, window: int | None
    ) -> torch.Tensor:
        """See `SequenceLayout`."""
        q, k, v = (x.flatten(0, 1)[self.rows].transpose(1, 2) for x in (query, key, value))
        mask = _band(self.rows.shape[1], window, query.device)
        output = nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=key.shape[2] != query.shape[2],
        )
        return output.transpose(1, 2).flatten(0, 1)[self.back].view_as(query)


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Which keys a query sees, bool [L, L]; None where causality is all there is to it."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < window)
