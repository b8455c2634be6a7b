"""Attention of one new token per row over cached keys and values, in plain PyTorch.

For row m with L = lengths[m], query head h and its key head g = h // (heads / key heads):
output[m, h] = sum over p of softmax_p(scale query[m, h] . keys[m, p, g]) values[m, p, g], where p runs over
the positions max(0, L - window + 1) to L. Position L holds the new token. See also `cached_attention_triton`.
"""

import torch
from torch import nn

from loratory.objectives.packing.attention import AttentionCall


def store(
    keys: torch.Tensor,
    values: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    places: torch.Tensor,
) -> None:
    """Write the keys and values of some tokens into a cache.

    Args:
        keys: [rows, P, key heads, width], written in place.
        values: like `keys`.
        key: [T, key heads, width].
        value: [T, key heads, width].
        places: int64 [T], row x P + position of each token.
    """
    keys.flatten(0, 1).index_copy_(0, places, key.to(keys.dtype))
    values.flatten(0, 1).index_copy_(0, places, value.to(values.dtype))


def attend(
    call: AttentionCall, keys: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Store each row's new key and value, then attend over the row.

    Args:
        call: with T = M, one new token per row.
        keys: [rows, P, key heads, width]; the new keys are written into it. Where M exceeds its rows, all
            further ones share the last row: they are padding.
        values: like `keys`.
        lengths: int32 [M], the position of each row's new token.

    Returns:
        [M, heads, width].
    """
    rows = _rows(len(lengths), keys)
    store(keys, values, call.key, call.value, rows * keys.shape[1] + lengths)
    return attend_cached(call, keys, values, lengths)


def attend_cached(
    call: AttentionCall, keys: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Attend over rows in which the new keys and values are stored already; arguments as in `attend`."""
    query, window = call.query, call.window
    # On a GPU, reading the longest length would wait for the device.
    longest = keys.shape[1] if lengths.device.type != "cpu" else int(lengths.max()) + 1
    distance = lengths[:, None] - torch.arange(longest, device=lengths.device)
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    rows: slice | torch.Tensor = slice(len(query))
    if len(query) > len(keys):
        rows = _rows(len(query), keys)
    # An earlier prompt may have left NaN at positions that are not seen, and NaN x 0 is NaN.
    k, v = (
        torch.where(seen[:, :, None, None], x[rows, :longest], 0.0).transpose(1, 2) for x in (keys, values)
    )
    # Query heads that share a key head take the place of tokens, so that no key is repeated.
    grouped = query.reshape(len(query), keys.shape[2], -1, query.shape[2])
    output = nn.functional.scaled_dot_product_attention(
        grouped, k, v, attn_mask=seen[:, None, None, :], scale=call.scale
    )
    return output.flatten(1, 2)


def _rows(count: int, keys: torch.Tensor) -> torch.Tensor:
    """Return the cache's row of each row that is decoded, int64 [M]."""
    return torch.arange(count, device=keys.device).clamp_(max=len(keys) - 1)
