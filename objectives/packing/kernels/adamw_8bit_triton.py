"""AdamW with moments in 8-bit codes as one Triton kernel; formula and plain twin are in `adamw_8bit`.

A program updates `_BLOCKS` blocks of 256 numbers: it reads master weights, gradients, codes and scales once,
and writes all but the gradients once. The code of a number is found by bisection among the 255 middles
between codes, its rate by bisection among the edges of the spans.
"""

import torch
import triton
import triton.language as tl

from loratory.objectives.packing.kernels.adamw_8bit import AdamWStep
from loratory.objectives.packing.kernels.dynamic_codes import (
    BLOCK,
    BlockCodes,
    code_middles,
    code_values,
)

_BLOCKS = 4


def update(
    master: torch.Tensor,
    gradient: torch.Tensor,
    mean: BlockCodes,
    square: BlockCodes,
    step: AdamWStep,
    *,
    first: int,
) -> None:
    """Update a part of an fp32 row and its moments in place; see the plain twin. Allocates nothing."""
    device, edges = master.device, step.edges
    tables = [
        table(device, signed=signed) for signed in (True, False) for table in (code_values, code_middles)
    ]
    (beta, other), (correction, root) = step.betas, step.corrections
    _update[(triton.cdiv(len(master), _BLOCKS * BLOCK),)](
        *(master, gradient, *mean, *square, *tables),
        master if edges is None else edges,
        *(0 if edges is None else len(edges), first, len(master)),
        *(step.learning_rate, step.learning_rate * step.ratio, step.weight_decay),
        *(beta, 1 - beta, other, 1 - other, step.epsilon, correction, root),
        EDGE_STEPS=0 if edges is None else len(edges).bit_length(),
        BLOCKS=_BLOCKS,
        BLOCK=BLOCK,
        num_warps=4,
    )


@triton.jit(do_not_specialize=["edge_count", "first"])
def _update(  # type: ignore[no-untyped-def]
    master,
    gradient,
    mean_codes,
    mean_scales,
    square_codes,
    square_scales,
    signed_values,
    signed_middles,
    unsigned_values,
    unsigned_middles,
    edges,
    edge_count,
    first,
    size,
    rate_outside,
    rate_within,
    decay,
    beta,
    rest,
    other_beta,
    other_rest,
    epsilon,
    correction,
    root,
    EDGE_STEPS: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    blocks = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    places = blocks[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside = places < size
    begun = blocks * BLOCK < size
    g = tl.load(gradient + places, mask=inside, other=0.0)
    p = tl.load(master + places, mask=inside, other=0.0)
    m = tl.load(signed_values + tl.load(mean_codes + places, mask=inside, other=0).to(tl.int32))
    v = tl.load(unsigned_values + tl.load(square_codes + places, mask=inside, other=0).to(tl.int32))
    m *= tl.load(mean_scales + blocks, mask=begun, other=0.0)[:, None]
    v *= tl.load(square_scales + blocks, mask=begun, other=0.0)[:, None]
    m = beta * m + rest * g
    v = other_beta * v + other_rest * g * g
    rate = tl.zeros_like(p) + rate_outside
    if EDGE_STEPS > 0:
        passed = tl.zeros_like(places)  # number of edges at or before each place
        for step in tl.static_range(EDGE_STEPS):
            half = 1 << (EDGE_STEPS - 1 - step)
            index = passed + half - 1
            known = index < edge_count
            edge = tl.load(edges + index, mask=known, other=0)
            passed = tl.where(known & (edge <= places + first), passed + half, passed)
        rate = tl.where(passed % 2 == 1, rate_within, rate)
    p = p * (1.0 - rate * decay) - rate / correction * m / (tl.sqrt(v) / root + epsilon)
    tl.store(master + places, p, mask=inside)
    codes, scales = _quantize(m, signed_middles)
    tl.store(mean_codes + places, codes.to(tl.uint8), mask=inside)
    tl.store(mean_scales + blocks, scales, mask=begun)
    codes, scales = _quantize(v, unsigned_middles)
    codes = tl.where((codes == 0) & (v > 0.0), 1, codes)
    tl.store(square_codes + places, codes.to(tl.uint8), mask=inside)
    tl.store(square_scales + blocks, scales, mask=begun)


@triton.jit
def _quantize(numbers, middles):  # type: ignore[no-untyped-def]
    low = tl.min(numbers, 1)
    high = tl.max(numbers, 1)
    scales = tl.where(-low > high, low, high)
    scales = tl.where(tl.abs(scales) < 1.17549435e-38, 0.0, scales)
    # A maximum leaves out NaN.
    lost = tl.max((numbers != numbers).to(tl.int32), 1) > 0
    scales = tl.where(lost, float("nan"), scales)
    zero = scales == 0.0
    ratios = numbers / tl.where(zero, 1.0, scales)[:, None]
    ratios = tl.where(zero[:, None], 0.0, ratios)
    codes = tl.zeros_like(numbers).to(tl.int32)
    for step in tl.static_range(8):
        half = 128 >> step
        codes = tl.where(ratios > tl.load(middles + codes + half - 1), codes + half, codes)
    return codes, scales
