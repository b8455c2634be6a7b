"""Triton kernels of the gated unit: the adapters' share of gate and up is added where the two are read."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from loratory.objectives.packing.context import Segments

_MOST_RANKS = 64
_COLUMNS = 128


def multiply(
    wide: Sequence[torch.Tensor],
    lows: Sequence[torch.Tensor],
    matrices: Sequence[torch.Tensor],
    segments: Segments,
) -> torch.Tensor:
    """silu(gate) * up, with gate and up the base's products plus low times B of each token's slot.

    Args:
        wide: the base's products of both layers, [T, F].
        lows: s x A of both, [T, R].
        matrices: B of both, transposed [K, R, F].
        segments: whose tokens are where.

    Returns:
        [T, F].
    """
    product = torch.empty_like(wide[0])
    _launch(wide, lows, matrices, segments, product=product, backward=False)
    return product


def gradients(
    d_product: torch.Tensor,
    wide: Sequence[torch.Tensor],
    lows: Sequence[torch.Tensor],
    matrices: Sequence[torch.Tensor],
    segments: Segments,
) -> None:
    """Put the gradients of gate and up in the places of the base's products.

    Args:
        d_product: [T, F].
        wide: as in `multiply`; overwritten.
        lows: as in `multiply`.
        matrices: as in `multiply`.
        segments: as in `multiply`.
    """
    _launch(wide, lows, matrices, segments, product=d_product, backward=True)


def _launch(
    wide: Sequence[torch.Tensor],
    lows: Sequence[torch.Tensor],
    matrices: Sequence[torch.Tensor],
    segments: Segments,
    *,
    product: torch.Tensor,
    backward: bool,
) -> None:
    tokens, features = product.shape
    rank = matrices[0].shape[1]
    rows = min(segments.granule, 32)
    _gated_unit[(tokens // rows, triton.cdiv(features, _COLUMNS))](
        *wide,
        *lows,
        *matrices,
        product,
        segments.block_slots,
        features,
        rank,
        lows[0].stride(0),
        matrices[0].stride(0),
        segments.granule,
        ROWS=rows,
        RANKS=min(_MOST_RANKS, max(16, triton.next_power_of_2(rank))),
        COLUMNS=_COLUMNS,
        BACKWARD=backward,
        PRECISION="ieee" if product.dtype is torch.float32 else "tf32",
        num_warps=4,
        num_stages=2,
    )


@triton.jit
def _adapted(  # type: ignore[no-untyped-def]
    wide, low, matrix, slot, rows, columns, features, rank, low_stride, slot_stride,
    RANKS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of a layer's output, fp32."""
    fits = columns < features
    tile = tl.load(wide + rows[:, None] * features + columns[None, :], mask=fits[None, :], other=0.0)
    total = tile.to(tl.float32)
    if slot >= 0:
        own = matrix + slot.to(tl.int64) * slot_stride
        for start in range(0, rank, RANKS):
            ranks = start + tl.arange(0, RANKS)
            within = ranks < rank
            left = tl.load(low + rows[:, None] * low_stride + ranks[None, :], mask=within[None, :], other=0.0)
            right = tl.load(
                own + ranks[:, None] * features + columns[None, :],
                mask=within[:, None] & fits[None, :],
                other=0.0,
            )
            total = tl.dot(left, right, total, input_precision=PRECISION)
    return total


@triton.jit
def _gated_unit(  # type: ignore[no-untyped-def]
    gates, ups, low_gate, low_up, gate_matrix, up_matrix, products, block_slots,
    features, rank, low_stride, slot_stride, granule,
    ROWS: tl.constexpr, RANKS: tl.constexpr, COLUMNS: tl.constexpr, BACKWARD: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * ROWS
    rows = (first + tl.arange(0, ROWS)).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    slot = tl.load(block_slots + first // granule)
    gate = _adapted(
        gates, low_gate, gate_matrix, slot, rows, columns, features, rank, low_stride, slot_stride,
        RANKS, PRECISION,
    )  # fmt: skip
    up = _adapted(
        ups, low_up, up_matrix, slot, rows, columns, features, rank, low_stride, slot_stride,
        RANKS, PRECISION,
    )  # fmt: skip
    open = 1.0 / (1.0 + tl.exp(-gate))
    places = rows[:, None] * features + columns[None, :]
    inside = (columns < features)[None, :] & (rows >= 0)[:, None]
    dtype = products.dtype.element_ty
    if BACKWARD:
        pull = tl.load(products + places, mask=inside, other=0.0).to(tl.float32)
        slope = open * (1.0 + gate * (1.0 - open))
        tl.store(gates + places, (pull * up * slope).to(dtype), mask=inside)
        tl.store(ups + places, (pull * gate * open).to(dtype), mask=inside)
    else:
        tl.store(products + places, (gate * open * up).to(dtype), mask=inside)
