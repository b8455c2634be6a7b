"""Attention of one new token per row over cached keys and values, in plain PyTorch.

For row m with L = lengths[m], query head h and its key head g = h // (heads / key heads):
output[m, h] = sum over p of softmax_p(scale query[m, h] . keys[m, p, g]) values[m, p, g], where p runs over
the positions max(0, L - window + 1) to L. Position L holds the new token. Position p of row m lies in page
table[m, p // PAGE] at offset p % PAGE. See also `cached_attention_triton`.
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
        keys: [pages, PAGE, key heads, width], written in place.
        values: like `keys`.
        key: [T, key heads, width].
        value: [T, key heads, width].
        places: int64 [T], page x PAGE + offset of each token.
    """
    keys.flatten(0, 1).index_copy_(0, places, key.to(keys.dtype))
    values.flatten(0, 1).index_copy_(0, places, value.to(values.dtype))


def attend(
    call: AttentionCall,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
) -> torch.Tensor:
    """Store each row's new key and value, then attend over the row.

    Args:
        call: with T = M, one new token per row.
        keys: [pages, PAGE, key heads, width]; the new keys are written into it.
        values: like `keys`.
        lengths: int32 [M], the position of each row's new token.
        table: int32 [M, P], the page of each PAGE positions of a row. Rows of padding share a page, in which
            the new key of any of them is kept.

    Returns:
        [M, heads, width].
    """
    size = keys.shape[1]
    page = table.gather(1, (lengths // size).long()[:, None]).squeeze(1)
    store(keys, values, call.key, call.value, page.long() * size + lengths % size)
    return attend_cached(call, keys, values, lengths, table)


def attend_cached(
    call: AttentionCall,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
) -> torch.Tensor:
    """Attend over rows in which the new keys and values are stored already; arguments as in `attend`."""
    query, window = call.query, call.window
    # On a GPU, reading the longest length would wait for the device.
    count = table.shape[1] if lengths.device.type != "cpu" else int(lengths.max()) // keys.shape[1] + 1
    distance = lengths[:, None] - torch.arange(count * keys.shape[1], device=lengths.device)
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    # An earlier prompt may have left NaN at positions that are not seen, and NaN x 0 is NaN. On a CPU these
    # two calls take a third of the time of an index and `torch.where`.
    pages, unseen = table[:, :count].flatten(), (~seen).flatten().nonzero().flatten()
    k, v = (
        x.index_select(0, pages)
        .flatten(0, 1)
        .index_fill_(0, unseen, 0.0)
        .unflatten(0, seen.shape)
        .transpose(1, 2)
        for x in (keys, values)
    )
    # Query heads that share a key head take the place of tokens, so that no key is repeated.
    grouped = query.reshape(len(query), keys.shape[2], -1, query.shape[2])
    output = nn.functional.scaled_dot_product_attention(
        grouped, k, v, attn_mask=seen[:, None, None, :], scale=call.scale
    )
    return output.flatten(1, 2)
