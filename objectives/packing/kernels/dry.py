"""Twins of the Triton kernels that allocate what those allocate and compute nothing: for the meta device.

A pass on the meta device takes no memory and no GPU, and shows what the same pass takes on one.
"""

from typing import Any

import torch

from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.segments import Segments


def shrink(
    x: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    scaling: torch.Tensor,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Allocate [T, R], see `products.shrink`."""
    return x.new_empty(len(x), matrix.shape[1]) if into is None else into


def expand(
    shrunk: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    bias: torch.Tensor | None = None,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Allocate [T, F], see `products.expand`."""
    return shrunk.new_empty(len(shrunk), matrix.shape[2]) if into is None else into


def accumulate(*_: Any, **__: Any) -> None:
    """Allocate nothing, see `products.accumulate`."""


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Allocate the losses, fp32 [N]; the gradient overwrites `logits`."""
    return logits.new_empty(len(logits), dtype=torch.float32), logits


def attend(call: Any) -> torch.Tensor:
    """Allocate [T, heads, width] for an `AttentionCall`, and keep what flash attention keeps."""
    attended: torch.Tensor = _Flash.apply(call.query, call.key, call.value)  # type: ignore[no-untyped-call]
    return attended


class _Flash(torch.autograd.Function):
    """Flash attention (Dao, 2023): keeps query, key, value, its output, and a number per token and head."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        sums = query.new_empty(query.shape[:2], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, sums)
        return output

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, _output, sums = ctx.saved_tensors
        # The kernel sums the gradient of the query in fp32.
        wide = query.new_empty(query.shape, dtype=torch.float32)
        gradients = tuple(torch.empty_like(x) for x in (query, key, value))
        del wide, sums
        return gradients


def rms_norm_beside(
    x: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Allocate the norm of x, see `norm_triton.rms_norm_beside`."""
    y, beside = _Norm.apply(x, None)  # type: ignore[no-untyped-call]
    return y, beside


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Allocate the norm of x, see `norm_triton.rms_norm`."""
    return rms_norm_beside(x, weight, epsilon)[0]


def add_rms_norm(
    x: torch.Tensor,
    residual: torch.Tensor,
    weight: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Allocate the norm of x + residual, and the sum, see `norm_triton.add_rms_norm`."""
    y, total = _Norm.apply(x, residual)  # type: ignore[no-untyped-call]
    return y, total


class _Norm(torch.autograd.Function):
    """Keeps the sum and a scale per row."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.empty_like(x)
        total = x if residual is None else torch.empty_like(x)
        ctx.adds = residual is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(total, x.new_empty(x.numel() // x.shape[-1], dtype=torch.float32))
        return y, total

    @staticmethod
    def backward(
        ctx: Any, dy: torch.Tensor | None, d_total: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        total, _ = ctx.saved_tensors
        dx = d_total if dy is None else torch.empty_like(total)
        return dx, dx if ctx.adds else None


def gated_unit(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Allocate silu(gate) * up; the gradients overwrite both inputs, as in liger-kernel."""
    product: torch.Tensor = _GatedUnit.apply(gate, up)  # type: ignore[no-untyped-call]
    return product


class _GatedUnit(torch.autograd.Function):
    """Keeps both inputs."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.empty_like(gate)

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gate, up = ctx.saved_tensors
        return gate, up


def rotary(query: torch.Tensor, key: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Allocate nothing: liger-kernel rotates in place."""
    return query, key
