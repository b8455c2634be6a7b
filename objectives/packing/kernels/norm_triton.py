"""RMSNorm with frozen weights as Triton kernels, alone or with the sum before it (Zhang and Sennrich, 2019).

Program n computes row n of all outputs, with total = x (+ residual), W the width and i, j features:
forward   scale[n] = 1 / sqrt(sum over i of total[n, i]^2 / W + epsilon),
          y[n, i] = weight[i] total[n, i] scale[n];
backward  pull[i] = dy[n, i] weight[i], normed[i] = total[n, i] scale[n],
          dx[n, i] = scale[n] (pull[i] - normed[i] sum over j of pull[j] normed[j] / W) (+ d_total[n, i]).
The plain twin is the norm of the transformers model itself, which `fused.fuse` replaces. A kernel that also
sums the weight's gradient runs one program per multiprocessor; without it there is one program per row.
"""

from typing import Any

import torch
import triton
import triton.language as tl


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Compute weight * x / rms(x) over the last dimension, as transformers' Llama does.

    Args:
        x: [..., width].
        weight: [width], frozen.
        epsilon: added to the mean square.
    """
    y, _ = rms_norm_beside(x, weight, epsilon)
    return y


def rms_norm_beside(
    x: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the norm of x, and x itself for the residual path: one kernel sums both gradients of x."""
    y, beside = _Norm.apply(x, None, weight, epsilon)  # type: ignore[no-untyped-call]
    return y, beside


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the norm of x + residual, and the sum itself; shapes as in `rms_norm`."""
    y, total = _Norm.apply(x, residual, weight, epsilon)  # type: ignore[no-untyped-call]
    return y, total


class _Norm(torch.autograd.Function):
    """The norm of x (+ residual), and the sum; see the module."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, epsilon: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, width = x.contiguous(), x.shape[-1]
        y, rows = torch.empty_like(x), x.numel() // width
        scales = torch.empty(rows, dtype=torch.float32, device=x.device)
        total = x if residual is None else torch.empty_like(x)
        added = x if residual is None else residual.contiguous()
        _forward[(rows,)](
            x,
            added,
            total,
            y,
            scales,
            weight,
            width,
            epsilon,
            BLOCK=triton.next_power_of_2(width),
            ADD=residual is not None,
            num_warps=_warps(width),
        )
        ctx.adds = residual is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(total, weight, scales)
        return y, total

    @staticmethod
    def backward(
        ctx: Any, dy: torch.Tensor | None, d_total: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        total, weight, scales = ctx.saved_tensors
        if dy is None:
            return d_total, d_total if ctx.adds else None, None, None
        dy, width = dy.contiguous(), total.shape[-1]
        dx = torch.empty_like(total)
        _backward[(scales.shape[0],)](
            dy,
            dy if d_total is None else d_total.contiguous(),
            total,
            dx,
            scales,
            weight,
            width,
            BLOCK=triton.next_power_of_2(width),
            ADD=d_total is not None,
            num_warps=_warps(width),
        )
        return dx, dx if ctx.adds else None, None, None


def _warps(width: int) -> int:
    """Return the warps per program for a row of `width` elements."""
    return 4 if width <= 2048 else 8


@triton.jit
def _forward(
    x, residual, total, y, scales, weight, width, epsilon, BLOCK: tl.constexpr, ADD: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    own = row * width + columns
    value = tl.load(x + own, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(residual + own, mask=inside, other=0.0).to(tl.float32)
        # The norm is that of the stored sum, which is rounded.
        value = value.to(total.dtype.element_ty)
        tl.store(total + own, value, mask=inside)
        value = value.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, 0) / width + epsilon)
    tl.store(scales + row, scale)
    normed = (value * scale).to(y.dtype.element_ty)
    tl.store(y + own, normed * tl.load(weight + columns, mask=inside, other=0.0), mask=inside)


@triton.jit
def _backward(dy, d_total, total, dx, scales, weight, width, BLOCK: tl.constexpr, ADD: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    own = row * width + columns
    scale = tl.load(scales + row)
    normed = tl.load(total + own, mask=inside, other=0.0).to(tl.float32) * scale
    pull = tl.load(dy + own, mask=inside, other=0.0).to(tl.float32)
    pull *= tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    gradient = scale * (pull - normed * (tl.sum(pull * normed, 0) / width))
    if ADD:
        gradient += tl.load(d_total + own, mask=inside, other=0.0).to(tl.float32)
    tl.store(dx + own, gradient.to(dx.dtype.element_ty), mask=inside)
