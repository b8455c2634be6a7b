"""A frozen linear layer with the adapters of all slots, forward and back: one autograd function."""

import importlib.util
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from loratory.objectives.packing.context import (
    DropoutKeys,
    FamilyPass,
    PassContext,
    Segments,
    SharedInput,
)
from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.kernels import products
from loratory.objectives.packing.stack import AdapterStack

if TYPE_CHECKING:
    from loratory.objectives.packing.linear import PackedLinear


def adapted_linear(x: torch.Tensor, layer: "PackedLinear") -> torch.Tensor:
    """Map [..., inputs] to [..., outputs] by a layer for which the pass at hand has adapters."""
    shared, anchor = layer.context.share(x), layer.context.anchor()
    y = _AdaptedLinear.apply(x.reshape(-1, layer.in_features), anchor, layer, shared)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], layer.out_features)  # type: ignore[no-any-return]


class _AdaptedLinear(torch.autograd.Function):
    """Forward and backward over all slots. Gradients of A and B are added to the pack's, not returned.

    Layers that read one input share the products with A, in both directions, unless they drop numbers of it:
    x and its gradient are much wider than what an adapter makes of them, and reading them is what it costs.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, _anchor: torch.Tensor, layer: "PackedLinear", shared: SharedInput
    ) -> torch.Tensor:
        low, together = _low(layer, x, shared, goes_back=any(ctx.needs_input_grad))
        shared.wanted |= ctx.needs_input_grad[0]
        stack, segments, _ = _pass_of(layer.context)
        _, b = stack.matrices(stack.compute, layer.name)
        # The adapter's share first and the base's product added to it: one pass over y less.
        y = _products_for(x, segments).expand(low, b, segments, bias=layer.bias)
        ctx.layer, ctx.shared, ctx.together = layer, shared, together
        ctx.save_for_backward(x, low)
        y.addmm_(x, layer.frozen().t())
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        x, low = ctx.saved_tensors
        _go_back(ctx.layer, dy.contiguous(), x=x, low=low, shared=ctx.shared, together=ctx.together)
        return ctx.shared.take_sum(), None, None, None


def _low(
    layer: "PackedLinear", x: torch.Tensor, shared: SharedInput, *, goes_back: bool
) -> tuple[torch.Tensor, FamilyPass]:
    """Give a layer's s x A, made in one product for all layers that read x.

    Args:
        layer: has an adapter.
        x: [T, inputs].
        shared: about x.
        goes_back: whether a gradient of the layer's output will come.

    Returns:
        [T, R], of which one row is one token's, and what the layers have in common.
    """
    stack, segments, keys = _pass_of(layer.context)
    # With dropout every layer drops numbers of its own from what it reads.
    family = stack.family(layer.name) if keys is None else stack.alone(layer.name)
    together = shared.of(family, layer=layer.name)
    if together.low is None:
        together.low = _products_for(x, segments).shrink(
            x,
            stack.shared_matrix(stack.compute, family),
            segments,
            scaling=stack.scaling,
            dropout=_dropout(keys, layer),
        )
    return together.take(layer.name, goes_back=goes_back), together


def _go_back(
    layer: "PackedLinear",
    dy: torch.Tensor,
    *,
    x: torch.Tensor,
    low: torch.Tensor,
    shared: SharedInput,
    together: FamilyPass,
) -> None:
    """Take the gradient of a layer's output back to its adapters and its input.

    Gradients of A and B are added to the pack's, that of x to `shared.gradient`; what needs x or A waits for
    the last of the layers that read x.

    Args:
        layer: has an adapter.
        dy: [T, outputs], contiguous.
        x: [T, inputs], what it read.
        low: what `_low` gave.
        shared: about x.
        together: what `_low` gave.
    """
    stack, segments, _ = _pass_of(layer.context)
    products, gradients = _products_for(x, segments), layer.context.gradients
    _, b = stack.matrices(stack.compute, layer.name)
    d_low = together.part(together.gradient_for(dy, rank=stack.rank), layer.name)
    products.shrink(dy, b, segments, scaling=stack.scaling, into=d_low)
    if gradients is not None:
        products.accumulate(stack.matrices(gradients, layer.name)[1], low, dy, segments)
    if shared.wanted:
        weight, so_far = layer.frozen(), shared.gradient
        shared.gradient = dy @ weight if so_far is None else so_far.addmm_(dy, weight)
    together.awaited.discard(layer.name)
    if not together.awaited:
        _go_back_together(layer, x, shared, together)


def _go_back_together(
    layer: "PackedLinear", x: torch.Tensor, shared: SharedInput, together: FamilyPass
) -> None:
    """The products with x and A, once all layers of a family have given their gradients."""
    stack, segments, keys = _pass_of(layer.context)
    products, dropout = _products_for(x, segments), _dropout(keys, layer)
    d_low, gradients = together.gradient, layer.context.gradients
    if gradients is not None:
        grad_a = stack.shared_matrix(gradients, together.family)
        products.accumulate(grad_a, d_low, x, segments, dropout=dropout)
    if shared.gradient is not None:
        a = stack.shared_matrix(stack.compute, together.family)
        products.expand(d_low, a, segments, dropout=dropout, into=shared.gradient)
    together.gradient = None


def _pass_of(context: PassContext) -> tuple[AdapterStack, Segments, DropoutKeys | None]:
    """What a layer with adapters needs to know of the pass at hand."""
    assert context.stack is not None and context.segments is not None
    return context.stack, context.segments, context.dropout


def _products_for(x: torch.Tensor, segments: Segments) -> ModuleType:
    """The adapters' products for tensors like `x`: kernels where they can run."""
    if x.device.type != "cuda" or x.dtype is torch.float64 or not segments.granule:
        return products
    if importlib.util.find_spec("triton") is None:
        return products
    from loratory.objectives.packing.kernels import products_triton

    return products_triton


def _dropout(keys: DropoutKeys | None, layer: "PackedLinear") -> Dropout | None:
    return None if keys is None else Dropout(keys, layer.salt)
