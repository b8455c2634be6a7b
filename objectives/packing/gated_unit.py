"""A gated unit, silu(gate) * up, whose two layers have adapters (Shazeer, 2020).

The products with B are made where gate and up are read anyway, so that neither is written twice. On a GPU.
"""

from typing import Any

import torch

from loratory.objectives.packing.adapted import go_back, narrow, pass_of
from loratory.objectives.packing.context import SharedInput
from loratory.objectives.packing.linear import PackedLinear


def gated_unit(x: torch.Tensor, gate: PackedLinear, up: PackedLinear) -> torch.Tensor:
    """Give silu(gate(x)) * up(x), both with the adapters of the pass at hand.

    Args:
        x: [..., inputs].
        gate: has adapters.
        up: has adapters.

    Returns:
        [..., outputs].
    """
    shared, anchor = gate.context.share(x), gate.context.anchor()
    flat = x.reshape(-1, gate.in_features)
    product = _GatedUnit.apply(flat, anchor, gate, up, shared)  # type: ignore[no-untyped-call]
    return product.view(*x.shape[:-1], gate.out_features)  # type: ignore[no-any-return]


class _GatedUnit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        _anchor: torch.Tensor,
        gate: PackedLinear,
        up: PackedLinear,
        shared: SharedInput,
    ) -> torch.Tensor:
        from loratory.objectives.packing.gated_unit_kernel import multiply

        shared.wanted |= ctx.needs_input_grad[0]
        lows, ctx.together = zip(
            *(narrow(layer, x, shared, goes_back=any(ctx.needs_input_grad)) for layer in (gate, up)),
            strict=True,
        )
        wide = [torch.nn.functional.linear(x, layer.frozen(), layer.bias) for layer in (gate, up)]
        ctx.layers, ctx.shared = (gate, up), shared
        ctx.save_for_backward(x, *lows, *wide)
        _, segments, _ = pass_of(gate.context)
        return multiply(wide, lows, _matrices(ctx.layers), segments)

    @staticmethod
    def backward(ctx: Any, d_product: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
        from loratory.objectives.packing.gated_unit_kernel import gradients

        x, *saved = ctx.saved_tensors
        lows, wide = saved[:2], saved[2:]
        _, segments, _ = pass_of(ctx.layers[0].context)
        # In place: nobody else reads gate and up.
        gradients(d_product.contiguous(), wide, lows, _matrices(ctx.layers), segments)
        for layer, dy, low, together in zip(ctx.layers, wide, lows, ctx.together, strict=True):
            go_back(layer, dy, x=x, low=low, shared=ctx.shared, together=together)
        return ctx.shared.sum(), None, None, None, None


def _matrices(layers: tuple[PackedLinear, PackedLinear]) -> list[torch.Tensor]:
    """B of both layers, transposed [K, R, outputs]."""
    stack, _, _ = pass_of(layers[0].context)
    return [stack.matrices(stack.compute, layer.name)[1] for layer in layers]
