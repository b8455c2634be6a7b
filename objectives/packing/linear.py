"""A frozen linear layer with the adapters of all slots: y = W x + b + s B A dropout(x).

The forward pass of an adapted layer computes `shrunk` = s x A (once for all layers that read x), then
y = shrunk B + b + x W. Its backward pass computes, from dy, the gradients of B, of A and of x; those of A and
B go to the pass's `GradientSink`, that of x to autograd. "A" and "B" are those of the slot that each token
belongs to; B is stored transposed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from loratory.objectives.packing.context import CurrentPass, PassContext
from loratory.objectives.packing.dropout import Dropout, stable_hash
from loratory.objectives.packing.shared_input import FamilyPass, SharedInput


@dataclass
class FrozenWeight:
    """A frozen matrix [outputs, inputs]: read anew for each pass, or held ready.

    Attributes:
        read: gives the matrix in the compute dtype.
        inputs: columns.
        outputs: rows.
        stored: whether `read` gives a matrix that is in memory anyway: then there is nothing to hold.
        held: the matrix, where it is kept ready.
    """

    read: Callable[[], torch.Tensor]
    inputs: int
    outputs: int
    stored: bool = False
    held: torch.Tensor | None = None

    @classmethod
    def dense(cls, linear: Any, dtype: torch.dtype) -> Self:
        """Take the matrix of an unquantised linear layer; another dtype is converted in each pass."""
        weight = linear.weight.detach()
        return cls(
            lambda: weight.to(dtype), linear.in_features, linear.out_features, stored=weight.dtype is dtype
        )

    def hold(self) -> None:
        """Keep the matrix ready from now on: the same numbers, more memory, less time."""
        if not self.stored:
            self.held = self.read()

    def release(self) -> None:
        """Read anew for each pass from now on."""
        self.held = None

    def __call__(self) -> torch.Tensor:
        """The matrix in the compute dtype."""
        return self.read() if self.held is None else self.held


class PackedLinear(nn.Module):
    """A linear layer of the base, W and b frozen, that applies to each token the adapter of its slot.

    The input may have any leading dimensions; flattened, they are the T tokens that `Segments` describes.
    """

    def __init__(
        self, name: str, weight: FrozenWeight, bias: torch.Tensor | None, context: PassContext
    ) -> None:
        """Take the place of a linear layer.

        Args:
            name: full name of the layer in the base.
            weight: W, the frozen matrix.
            bias: b, [outputs], frozen; None where the layer has none.
            context: tells which pass goes through the layers; shared by all layers of the base.
        """
        super().__init__()
        self.bias: torch.Tensor | None
        self.name, self.frozen, self.context = name, weight, context
        self.in_features, self.out_features = weight.inputs, weight.outputs
        self.register_buffer("bias", bias, persistent=False)
        self.salt = stable_hash(name) >> 1

    @property
    def weight(self) -> torch.Tensor:
        """The frozen matrix, for models that read it without calling the layer."""
        return self.frozen()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., inputs] to [..., outputs]."""
        current = self.context.current
        if current is None or self.name not in current.stack.layers:
            return _FrozenLinear.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]
        y = _AdaptedLinear.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, self.in_features), current.anchor, self, current, current.inputs.of(x)
        )
        return y.view(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return name and sizes."""
        return f"{self.name}, {self.in_features} -> {self.out_features}"


class _FrozenLinear(torch.autograd.Function):
    """y = W x + b, for passes without adapters."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.frozen(), layer.bias)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        return dy @ ctx.layer.frozen(), None


class _AdaptedLinear(torch.autograd.Function):
    """y = W x + b + s B A dropout(x), forward and backward over all slots.

    Layers that read one input share the products with A, in both directions. With dropout they do not: each
    layer then reads x under a mask of its own.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        _anchor: torch.Tensor,
        layer: PackedLinear,
        current: CurrentPass,
        shared: SharedInput,
    ) -> torch.Tensor:
        family = _shrink_shared(layer, x, current, shared)
        shrunk = family.take(layer.name, needs_backward=any(ctx.needs_input_grad))
        shared.needs_gradient |= ctx.needs_input_grad[0]
        _, b = current.stack.matrices(current.stack.compute, layer.name)
        # The base's product is added to the adapter's, which reads and writes y once less than the reverse.
        y = current.products.expand(shrunk, b, current.segments, bias=layer.bias)
        ctx.layer, ctx.current, ctx.shared, ctx.family = layer, current, shared, family
        ctx.save_for_backward(x, shrunk)
        y.addmm_(x, layer.frozen().t())
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
        x, shrunk = ctx.saved_tensors
        layer, current, shared, family = ctx.layer, ctx.current, ctx.shared, ctx.family
        _backward_layer(layer, dy.contiguous(), shrunk, current=current, shared=shared, family=family)
        family.awaited.discard(layer.name)
        if not family.awaited:
            _backward_family(layer, x, current=current, shared=shared, family=family)
        return shared.take_gradient(), None, None, None, None


def _shrink_shared(
    layer: PackedLinear, x: torch.Tensor, current: CurrentPass, shared: SharedInput
) -> FamilyPass:
    """Compute s x A for all layers that read x, unless the first of them has done so.

    Args:
        layer: one of these layers.
        x: [T, inputs].
        current: the pass.
        shared: the shared input of x.

    Returns:
        The products of the layer's family with x, `shrunk` among them.
    """
    stack = current.stack
    family = stack.family(layer.name) if current.dropout is None else stack.alone(layer.name)
    products = shared.family_pass(family, layer=layer.name)
    if products.shrunk is None:
        products.shrunk = current.products.shrink(
            x,
            stack.shared_matrix(stack.compute, family),
            current.segments,
            scaling=stack.scaling,
            dropout=_dropout(layer, current),
        )
    return products


def _backward_layer(
    layer: PackedLinear,
    dy: torch.Tensor,
    shrunk: torch.Tensor,
    *,
    current: CurrentPass,
    shared: SharedInput,
    family: FamilyPass,
) -> None:
    """Compute what a layer's backward pass needs neither x nor A for.

    The gradient of x A goes to `family.d_shrunk`, that of B to the pass's gradient sink, and dy W to
    `shared.d_x`.

    Args:
        layer: the layer.
        dy: [T, outputs], the gradient of its output, contiguous.
        shrunk: [T, R], s x A of the layer.
        current: the pass.
        shared: the shared input of x.
        family: the products of the layer's family with x.
    """
    stack, products, segments = current.stack, current.products, current.segments
    _, b = stack.matrices(stack.compute, layer.name)
    d_shrunk = family.gradient_part(layer.name, dy, rank=stack.rank)
    products.shrink(dy, b, segments, scaling=stack.scaling, into=d_shrunk)
    if current.gradients is not None:
        current.gradients.add_b(layer.name, shrunk, dy, segments, products=products)
    if shared.needs_gradient:
        weight, d_x = layer.frozen(), shared.d_x
        shared.d_x = dy @ weight if d_x is None else d_x.addmm_(dy, weight)


def _backward_family(
    layer: PackedLinear, x: torch.Tensor, *, current: CurrentPass, shared: SharedInput, family: FamilyPass
) -> None:
    """Compute the products with x and A, once the backward pass of every layer of a family has run.

    The gradient of A goes to the pass's gradient sink; d_shrunk A is added to `shared.d_x`.

    Args:
        layer: the last of these layers.
        x: [T, inputs].
        current: the pass.
        shared: the shared input of x.
        family: the products of the family with x.
    """
    stack, products, segments = current.stack, current.products, current.segments
    d_shrunk, dropout = family.d_shrunk, _dropout(layer, current)
    assert d_shrunk is not None
    if current.gradients is not None:
        current.gradients.add_a(family.family, d_shrunk, x, segments, products=products, dropout=dropout)
    if shared.d_x is not None:
        a = stack.shared_matrix(stack.compute, family.family)
        products.expand(d_shrunk, a, segments, dropout=dropout, into=shared.d_x)
    family.d_shrunk = None


def _dropout(layer: PackedLinear, current: CurrentPass) -> Dropout | None:
    """Return the layer's dropout in the pass; None where nothing is dropped."""
    return None if current.dropout is None else Dropout(current.dropout, layer.salt)
