"""The attention function that transformers models call; it attends in the layout of the current pass."""

from typing import Any

import torch
from torch import nn

from loratory.objectives.packing.attention import AttentionCall
from loratory.objectives.packing.context import PassContext

IMPLEMENTATION = "loratory_packed"
"""The name under which transformers finds `packed_attention`."""

# Keyword arguments of a model's attention that are supported; any other is refused.
_SUPPORTED = {
    "sliding_window",
    "is_causal",
    "position_ids",
    "use_cache",
    "cache_position",
    "logits_to_keep",
    "output_router_logits",
}


def install_attention(model: Any, context: PassContext) -> None:
    """Register `packed_attention` and give every attention layer of a transformers model the context.

    The caller then sets the model's attention implementation to `IMPLEMENTATION`. No mask function is
    registered under that name, so transformers builds no mask.
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
    """Attend in the layout of the current pass; the signature is that of transformers' attention functions.

    Args:
        module: the model's attention layer.
        query: [B, heads, L, width], where B x L are the T tokens of the pass.
        key: [B, key heads, L, width].
        value: like `key`.
        attention_mask: must be None.
        scaling: factor of the products of queries and keys; width^-0.5 where None.
        dropout: must be 0.
        asked: further arguments of the model.

    Returns:
        [B, L, heads, width], and None for the attention weights.

    Raises:
        NotImplementedError: an argument asks for another kind of attention.
    """
    given = {name for name, value in asked.items() if not (value is None or value is False)}
    unknown = given - _SUPPORTED
    if unknown or attention_mask is not None or dropout:
        raise NotImplementedError(f"attention with {', '.join(sorted(unknown)) or 'a mask or dropout'}")
    if asked.get("is_causal") is False or not getattr(module, "is_causal", True):
        raise NotImplementedError("attention that is not causal")
    context: PassContext = module.pass_context  # type: ignore[assignment]
    assert context.current is not None and context.current.attention is not None
    query_rows, key_rows, value_rows = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    call = AttentionCall(
        query=query_rows,
        key=key_rows,
        value=value_rows,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=asked.get("sliding_window"),
        layer=module.layer_idx,  # type: ignore[arg-type]
    )
    attended = context.current.attention.attend(call)
    return attended.view(query.shape[0], query.shape[2], *attended.shape[1:]), None
