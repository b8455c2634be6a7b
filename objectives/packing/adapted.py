"""The adapters' share of a linear layer, forward and back: what autograd functions over slots are made of."""

import importlib.util
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from loratory.objectives.packing import products as plain_products
from loratory.objectives.packing.context import (
    DropoutKeys,
    FamilyPass,
    PassContext,
    Segments,
    SharedInput,
)
from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.stack import AdapterStack

if TYPE_CHECKING:
    from loratory.objectives.packing.linear import PackedLinear


def narrow(
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
    stack, segments, keys = pass_of(layer.context)
    # With dropout every layer drops numbers of its own from what it reads.
    family = stack.family(layer.name) if keys is None else stack.alone(layer.name)
    together = shared.of(family, layer=layer.name)
    if together.low is None:
        together.low = products_for(x, segments).shrink(
            x,
            stack.shared_matrix(stack.compute, family),
            segments,
            scaling=stack.scaling,
            dropout=_dropout(keys, layer),
        )
    return together.take(layer.name, goes_back=goes_back), together


def go_back(
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
        low: what `narrow` gave.
        shared: about x.
        together: what `narrow` gave.
    """
    stack, segments, _ = pass_of(layer.context)
    products, gradients = products_for(x, segments), layer.context.gradients
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
    stack, segments, keys = pass_of(layer.context)
    products, dropout = products_for(x, segments), _dropout(keys, layer)
    d_low, gradients = together.gradient, layer.context.gradients
    if gradients is not None:
        grad_a = stack.shared_matrix(gradients, together.family)
        products.accumulate(grad_a, d_low, x, segments, dropout=dropout)
    if shared.gradient is not None:
        a = stack.shared_matrix(stack.compute, together.family)
        products.expand(d_low, a, segments, dropout=dropout, into=shared.gradient)
    together.gradient = None


def pass_of(context: PassContext) -> tuple[AdapterStack, Segments, DropoutKeys | None]:
    """What a layer with adapters needs to know of the pass at hand."""
    assert context.stack is not None and context.segments is not None
    return context.stack, context.segments, context.dropout


def products_for(x: torch.Tensor, segments: Segments) -> ModuleType:
    """The adapters' products for tensors like `x`: kernels where they can run."""
    if x.device.type != "cuda" or x.dtype is torch.float64 or not segments.granule:
        return plain_products
    if importlib.util.find_spec("triton") is None:
        return plain_products
    from loratory.objectives.packing import kernels

    return kernels


def _dropout(keys: DropoutKeys | None, layer: "PackedLinear") -> Dropout | None:
    return None if keys is None else Dropout(keys, layer.salt)
