"""The three products of stacked adapters; the plain twin, with the formulas, is `products`.

Each product is one launch, whatever the number of slots (the gathered products of Chen et al., "Punica",
2023, for training). Output elements per program:
shrink      program (i, j): shrunk[t, r] for t in the i-th ROWS tokens and r in the j-th RANKS ranks. It reads
            x[t, :] and M[k, r, :] of the slot k of its block, COLUMNS features at a time.
expand      program (i, j): y[t, f] for t in the i-th ROWS tokens and f in the j-th COLUMNS features. It reads
            shrunk[t, :] and M[k, :, f] of the slot k of its block, RANKS ranks at a time.
accumulate  program (k, i, j): total[k, r, f] for f in the i-th COLUMNS features and r in the j-th RANKS
            ranks. It reads shrunk[t, r] and wide[t, f] of all tokens t of slot k, ROWS tokens at a time.
The tokens of a program of `shrink` or `expand` lie in one block of `granule` tokens and so have one slot k,
which is looked up once. Dropout masks are hashed where they are needed and never stored. Sums are fp32; each
is computed by one program in a fixed order, so that results repeat exactly.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.segments import Segments

_MOST_ROWS = 64
_MOST_RANKS = 64
_COLUMNS = 128


def shrink(
    x: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    scaling: torch.Tensor,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multiply by M transposed and the scaling, see `products.shrink`."""
    tokens, features = x.shape
    rank = matrix.shape[1]
    shrunk = x.new_empty(tokens, rank) if into is None else into
    rows, ranks = min(segments.granule, 32), _ranks_per_program(rank)
    grid = (tokens // rows, triton.cdiv(rank, ranks))
    _shrink[grid](
        x,
        matrix,
        shrunk,
        segments.block_slots,
        scaling,
        *_dropout_arguments(dropout, x),
        features,
        rank,
        shrunk.stride(0),
        matrix.stride(0),
        segments.granule,
        ROWS=rows,
        RANKS=ranks,
        COLUMNS=_COLUMNS,
        DROPOUT=dropout is not None,
        PRECISION=_precision(x),
        num_warps=4,
        num_stages=4,
    )
    return shrunk


def expand(
    shrunk: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    bias: torch.Tensor | None = None,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multiply by M and add the bias, see `products.expand`."""
    tokens, rank = shrunk.shape
    features = matrix.shape[2]
    y = shrunk.new_empty(tokens, features) if into is None else into
    rows, ranks = min(segments.granule, _MOST_ROWS), _ranks_per_program(rank)
    grid = (tokens // rows, triton.cdiv(features, _COLUMNS))
    _expand[grid](
        shrunk,
        matrix,
        y,
        y if bias is None else bias,
        segments.block_slots,
        *_dropout_arguments(dropout, shrunk),
        features,
        rank,
        shrunk.stride(0),
        matrix.stride(0),
        segments.granule,
        ROWS=rows,
        RANKS=ranks,
        COLUMNS=_COLUMNS,
        BIAS=bias is not None,
        ADD=into is not None,
        DROPOUT=dropout is not None,
        PRECISION=_precision(shrunk),
        num_warps=4,
        num_stages=2,
    )
    return y


def accumulate(
    total: torch.Tensor,
    shrunk: torch.Tensor,
    wide: torch.Tensor,
    segments: Segments,
    *,
    dropout: Dropout | None = None,
) -> None:
    """Add outer products, see `products.accumulate`."""
    slots, rank, features = total.shape
    ranks, columns = _ranks_per_program(rank), 64
    grid = (slots, triton.cdiv(features, columns), triton.cdiv(rank, ranks))
    _accumulate[grid](
        total,
        shrunk,
        wide,
        segments.bounds,
        *_dropout_arguments(dropout, wide),
        features,
        rank,
        shrunk.stride(0),
        total.stride(0),
        ROWS=_MOST_ROWS,
        RANKS=ranks,
        COLUMNS=columns,
        DROPOUT=dropout is not None,
        PRECISION=_precision(wide),
        num_warps=4,
        num_stages=3,
    )


def _ranks_per_program(rank: int) -> int:
    """Return a power of two: at least 16, as `tl.dot` needs, and at most `_MOST_RANKS`."""
    return min(_MOST_RANKS, max(16, 1 << (rank - 1).bit_length()))


def _precision(x: torch.Tensor) -> str:
    """Return the precision of `tl.dot`, whose default would round fp32 to TF32."""
    return "ieee" if x.dtype is torch.float32 else "tf32"


def _dropout_arguments(dropout: Dropout | None, otherwise: torch.Tensor) -> tuple[Any, Any, int]:
    """Return keys, thresholds and salt; without dropout any tensor, which the kernel does not read."""
    if dropout is None:
        return otherwise, otherwise, 0
    return dropout.keys.tokens, dropout.keys.thresholds, dropout.salt


@triton.jit
def _keep(keys, columns, threshold, salt):  # type: ignore[no-untyped-def]
    """Compute `dropout.keep_mask` for some tokens and features, bool [ROWS, COLUMNS]."""
    x = (keys ^ salt)[:, None] + ((columns >> 1) * (-1640531535))[None, :]
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * (-2073254261)
    x = x ^ ((x >> 16) & 0xFFFF)
    return ((x >> ((columns & 1) << 4)[None, :]) & 0xFFFF) >= threshold


@triton.jit(do_not_specialize=["salt"])
def _shrink(  # type: ignore[no-untyped-def]
    x, matrix, shrunk, block_slots, scaling, keys, thresholds, salt, features, rank, shrunk_stride,
    slot_stride, granule,
    ROWS: tl.constexpr, RANKS: tl.constexpr, COLUMNS: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * ROWS
    rows = (first + tl.arange(0, ROWS)).to(tl.int64)
    ranks = tl.program_id(1) * RANKS + tl.arange(0, RANKS)
    places = shrunk + rows[:, None] * shrunk_stride + ranks[None, :]
    inside = (ranks < rank)[None, :] & (rows >= 0)[:, None]
    slot = tl.load(block_slots + first // granule)
    total = tl.zeros([ROWS, RANKS], dtype=tl.float32)
    if slot < 0:
        tl.store(places, total.to(shrunk.dtype.element_ty), mask=inside)
        return
    own = matrix + slot.to(tl.int64) * slot_stride
    for start in range(0, features, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        fits = columns < features
        tile = tl.load(x + rows[:, None] * features + columns[None, :], mask=fits[None, :], other=0.0)
        if DROPOUT:
            threshold = tl.load(thresholds + slot)
            keep = _keep(tl.load(keys + rows), columns, threshold, salt)
            scale = (65536.0 / (65536 - threshold).to(tl.float32)).to(tile.dtype)
            tile = tl.where(keep, tile * scale, 0.0).to(tile.dtype)
        weights = tl.load(
            own + ranks[None, :] * features + columns[:, None],
            mask=fits[:, None] & (ranks < rank)[None, :],
            other=0.0,
        )
        total = tl.dot(tile, weights, total, input_precision=PRECISION)
    total *= tl.load(scaling + slot).to(tl.float32)
    tl.store(places, total.to(shrunk.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["salt"])
def _expand(  # type: ignore[no-untyped-def]
    shrunk, matrix, y, bias, block_slots, keys, thresholds, salt, features, rank, shrunk_stride, slot_stride,
    granule,
    ROWS: tl.constexpr, RANKS: tl.constexpr, COLUMNS: tl.constexpr, BIAS: tl.constexpr,
    ADD: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * ROWS
    rows = (first + tl.arange(0, ROWS)).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    fits = columns < features
    slot = tl.load(block_slots + first // granule)
    total = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    if slot >= 0:
        own = matrix + slot.to(tl.int64) * slot_stride
        for start in range(0, rank, RANKS):
            ranks = start + tl.arange(0, RANKS)
            within = ranks < rank
            tile = tl.load(
                shrunk + rows[:, None] * shrunk_stride + ranks[None, :], mask=within[None, :], other=0.0
            )
            weights = tl.load(
                own + ranks[:, None] * features + columns[None, :],
                mask=within[:, None] & fits[None, :],
                other=0.0,
            )
            total = tl.dot(tile, weights, total, input_precision=PRECISION)
        if DROPOUT:
            threshold = tl.load(thresholds + slot)
            keep = _keep(tl.load(keys + rows), columns, threshold, salt)
            total = tl.where(keep, total * (65536.0 / (65536 - threshold).to(tl.float32)), 0.0)
    if BIAS:
        total += tl.load(bias + columns, mask=fits, other=0.0).to(tl.float32)[None, :]
    places = y + rows[:, None] * features + columns[None, :]
    if ADD:
        total += tl.load(places, mask=fits[None, :], other=0.0).to(tl.float32)
    tl.store(places, total.to(y.dtype.element_ty), mask=fits[None, :])


@triton.jit(do_not_specialize=["salt"])
def _accumulate(  # type: ignore[no-untyped-def]
    total, shrunk, wide, bounds, keys, thresholds, salt, features, rank, shrunk_stride, slot_stride,
    ROWS: tl.constexpr, RANKS: tl.constexpr, COLUMNS: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    ranks = tl.program_id(2) * RANKS + tl.arange(0, RANKS)
    fits = columns < features
    within = ranks < rank
    first = tl.load(bounds + 2 * slot)
    last = tl.load(bounds + 2 * slot + 1)
    if first >= last:
        return
    added = tl.zeros([RANKS, COLUMNS], dtype=tl.float32)
    for start in range(first, last, ROWS):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)
        there = rows < last
        left = tl.load(
            shrunk + rows[None, :] * shrunk_stride + ranks[:, None],
            mask=there[None, :] & within[:, None],
            other=0.0,
        )
        right = tl.load(
            wide + rows[:, None] * features + columns[None, :],
            mask=there[:, None] & fits[None, :],
            other=0.0,
        )
        if DROPOUT:
            threshold = tl.load(thresholds + slot)
            keep = _keep(tl.load(keys + rows, mask=there, other=0), columns, threshold, salt)
            scale = (65536.0 / (65536 - threshold).to(tl.float32)).to(right.dtype)
            right = tl.where(keep, right * scale, 0.0).to(right.dtype)
        added = tl.dot(left, right, added, input_precision=PRECISION)
    places = total + slot.to(tl.int64) * slot_stride + ranks[:, None] * features + columns[None, :]
    inside = within[:, None] & fits[None, :]
    tl.store(places, tl.load(places, mask=inside, other=0.0) + added, mask=inside)
