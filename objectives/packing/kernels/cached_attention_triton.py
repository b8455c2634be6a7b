"""Attention of one new token per row over cached keys and values; the plain twin is `cached_attention`.

attend  Program (m, g) computes output[m, h] for the query heads h of key head g, by the formula in
        `cached_attention`. It reads query[m, h], the row's keys[m, p, g] and values[m, p, g] by the pages in
        table[m], and writes the new key and value to position L = lengths[m]. It visits PLACES positions at a
        time and keeps a running maximum, sum and mean per query head (the online softmax of Milakov and
        Gimelshein, 2018).
store   Program t copies key[t] and value[t] to places[t].
"""

import math

import torch
import triton
import triton.language as tl

from loratory.objectives.packing.attention import AttentionCall

_TILE_BYTES = 1 << 14  # bytes of keys per tile; small GPUs have 64 KiB for all tiles of a program


def store(
    keys: torch.Tensor,
    values: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    places: torch.Tensor,
) -> None:
    """Write keys and values into a cache, see `cached_attention.store`.

    PyTorch's `index_copy_` would sort the places first under `torch.use_deterministic_algorithms`.
    """
    size = key.shape[1] * key.shape[2]
    columns = triton.next_power_of_2(size)
    _store[(len(key),)](
        keys, values, key.contiguous(), value.contiguous(), places, SIZE=size, COLUMNS=columns
    )


def attend(
    call: AttentionCall,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
) -> torch.Tensor:
    """Store each row's new key and value, then attend over the row, see `cached_attention.attend`."""
    query, window = call.query.contiguous(), call.window
    rows, heads, width = query.shape
    key_heads = call.key.shape[1]
    group = heads // key_heads
    columns = max(16, triton.next_power_of_2(width))
    output = torch.empty_like(query)
    _attend[(rows, key_heads)](
        query,
        call.key.contiguous(),
        call.value.contiguous(),
        keys,
        values,
        lengths,
        table,
        output,
        call.scale * math.log2(math.e),
        table.shape[1],
        0 if window is None else window,
        GROUP=group,
        QUERIES=max(16, triton.next_power_of_2(group)),
        WIDTH=width,
        COLUMNS=columns,
        PAGE=keys.shape[1],
        PLACES=max(16, min(64, _TILE_BYTES // (columns * keys.element_size()))),
        WINDOWED=window is not None,
        PRECISION="ieee" if query.dtype is torch.float32 else "tf32",
        num_warps=4,
        num_stages=2,
    )
    return output


@triton.jit
def _store(keys, values, key, value, places, SIZE: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    fits = columns < SIZE
    there = tl.load(places + token) * SIZE + columns
    here = token * SIZE + columns
    tl.store(keys + there, tl.load(key + here, mask=fits).to(keys.dtype.element_ty), mask=fits)
    tl.store(values + there, tl.load(value + here, mask=fits).to(values.dtype.element_ty), mask=fits)


@triton.jit(do_not_specialize=["row_pages", "window"])
def _attend(  # type: ignore[no-untyped-def]
    query, key, value, keys, values, lengths, table, output, scale, row_pages, window,
    GROUP: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
    PAGE: tl.constexpr, PLACES: tl.constexpr, WINDOWED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    row, head, heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    length = tl.load(lengths + row)
    columns, queries = tl.arange(0, COLUMNS), tl.arange(0, QUERIES)
    fits = columns < WIDTH
    own = (row * heads + head) * WIDTH + columns
    new_key = tl.load(key + own, mask=fits, other=0.0).to(keys.dtype.element_ty)
    new_value = tl.load(value + own, mask=fits, other=0.0).to(values.dtype.element_ty)
    pages = table + row * row_pages
    page = tl.load(pages + length // PAGE).to(tl.int64)
    new = ((page * PAGE + length % PAGE) * heads + head) * WIDTH + columns
    tl.store(keys + new, new_key, mask=fits)
    tl.store(values + new, new_value, mask=fits)
    asked = ((row * heads + head) * GROUP + queries)[:, None] * WIDTH + columns[None, :]
    inside = (queries < GROUP)[:, None] & fits[None, :]
    q = tl.load(query + asked, mask=inside, other=0.0).to(keys.dtype.element_ty)
    first = 0
    if WINDOWED:
        first = tl.maximum(length - window + 1, 0) // PLACES * PLACES
    highest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    mean = tl.zeros([QUERIES, COLUMNS], tl.float32)
    for start in range(first, length + 1, PLACES):
        places = start + tl.arange(0, PLACES)
        seen = places <= length
        if WINDOWED:
            seen = seen & (places > length - window)
        earlier = places < length
        page = tl.load(pages + places // PAGE, mask=earlier, other=0).to(tl.int64)
        far = ((page * PAGE + places % PAGE) * heads + head) * WIDTH
        # The new key and value come from registers: other threads may not see them in memory yet.
        k = tl.load(keys + columns[:, None] + far[None, :], mask=fits[:, None] & earlier[None, :], other=0.0)
        k = tl.where((places == length)[None, :], new_key[:, None], k)
        scores = tl.dot(q, k, input_precision=PRECISION) * scale
        scores = tl.where(seen[None, :], scores, float("-inf"))
        above = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - above[:, None])
        fading = tl.exp2(highest - above)
        total = total * fading + tl.sum(weights, 1)
        v = tl.load(
            values + columns[None, :] + far[:, None],
            mask=earlier[:, None] & fits[None, :],
            other=0.0,
        )
        v = tl.where((places == length)[:, None], new_value[None, :], v)
        mean = tl.dot(weights.to(v.dtype), v, mean * fading[:, None], input_precision=PRECISION)
        highest = above
    tl.store(output + asked, (mean / total[:, None]).to(output.dtype.element_ty), mask=inside)
