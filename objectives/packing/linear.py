"""A frozen linear layer with the adapters of all slots: one autograd function, no launches per slot."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from loratory.objectives.packing import products as plain_products
from loratory.objectives.packing.context import DropoutKeys, PassContext, Segments, SharedInput
from loratory.objectives.packing.dropout import Dropout, stable_hash
from loratory.objectives.packing.stack import AdapterStack


@dataclass
class FrozenWeight:
    """A frozen matrix [outputs, inputs]: kept in nf4 and read anew for each pass, or held ready.

    Attributes:
        read: gives the matrix in the compute dtype.
        inputs: columns.
        outputs: rows.
        held: the matrix, where it is kept ready.
    """

    read: Callable[[], torch.Tensor]
    inputs: int
    outputs: int
    held: torch.Tensor | None = None

    def hold(self) -> None:
        """Keep the matrix ready from now on: the same numbers, more memory, less time."""
        self.held = self.read()

    def release(self) -> None:
        """Read anew for each pass from now on."""
        self.held = None

    def __call__(self) -> torch.Tensor:
        """The matrix in the compute dtype."""
        return self.read() if self.held is None else self.held


class PackedLinear(nn.Module):
    """y = W x + b + s B A dropout(x), with W frozen and s, A, B of the slot that each token belongs to.

    Whatever the shape of its input, it stands for T tokens one after the other, as `Segments` counts them.
    """

    def __init__(
        self, name: str, weight: FrozenWeight, bias: torch.Tensor | None, context: PassContext
    ) -> None:
        """Take the place of a linear layer.

        Args:
            name: full name of the layer in the base.
            weight: the frozen matrix.
            bias: [outputs], frozen, or None.
            context: shared with all layers of the base.
        """
        super().__init__()
        self.bias: torch.Tensor | None
        self.name, self.frozen, self.context = name, weight, context
        self.in_features, self.out_features = weight.inputs, weight.outputs
        self.register_buffer("bias", bias, persistent=False)
        self.salt = stable_hash(name) >> 1

    @property
    def weight(self) -> torch.Tensor:
        """The frozen matrix, for models that read it past the layer."""
        return self.frozen()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., inputs] to [..., outputs]."""
        stack = self.context.stack
        if stack is None or self.name not in stack.layers:
            return _FrozenLinear.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]
        # The first layers' input needs no gradient, their adapters do: the anchor says so to autograd.
        trains = torch.is_grad_enabled() and self.context.gradients is not None
        anchor = stack.master.new_empty(0, requires_grad=trains)
        shared = self.context.share(x)
        y = _AdaptedLinear.apply(x.reshape(-1, self.in_features), anchor, self, shared)  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Name and sizes."""
        return f"{self.name}, {self.in_features} -> {self.out_features}"


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.frozen(), layer.bias)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        return dy @ ctx.layer.frozen(), None


class _AdaptedLinear(torch.autograd.Function):
    """Forward and backward over all slots. Gradients of A and B are added to the pack's, not returned.

    The adapters' share is written first and the base's product added to it: one pass over y less.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, _anchor: torch.Tensor, layer: PackedLinear, shared: SharedInput
    ) -> torch.Tensor:
        stack, segments, keys = _needed(layer.context)
        a, b = stack.compute_matrices(layer.name)
        products = _products_for(x, segments)
        low = products.shrink(x, a, segments, scaling=stack.scaling, dropout=_dropout(keys, layer))
        y = products.expand(low, b, segments, bias=layer.bias)
        ctx.layer, ctx.shared = layer, shared
        if ctx.needs_input_grad[0]:
            shared.read()
        ctx.save_for_backward(x, low)
        y.addmm_(x, layer.frozen().t())
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        layer: PackedLinear = ctx.layer
        shared: SharedInput = ctx.shared
        x, low = ctx.saved_tensors
        stack, segments, keys = _needed(layer.context)
        dropout, dy = _dropout(keys, layer), dy.contiguous()
        a, b = stack.compute_matrices(layer.name)
        products = _products_for(x, segments)
        d_low = products.shrink(dy, b, segments, scaling=stack.scaling)
        if layer.context.gradients is not None:
            grad_a, grad_b = stack.matrices(layer.context.gradients, layer.name)
            products.accumulate(grad_b, low, dy, segments)
            products.accumulate(grad_a, d_low, x, segments, dropout=dropout)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        dx = products.expand(d_low, a, segments, dropout=dropout, into=shared.gradient)
        return shared.add(dx.addmm_(dy, layer.frozen())), None, None, None


def _needed(context: PassContext) -> tuple[AdapterStack, Segments, DropoutKeys | None]:
    assert context.stack is not None and context.segments is not None
    return context.stack, context.segments, context.dropout


def _dropout(keys: DropoutKeys | None, layer: PackedLinear) -> Dropout | None:
    return None if keys is None else Dropout(keys, layer.salt)


def _products_for(x: torch.Tensor, segments: Segments) -> ModuleType:
    """The adapters' products for tensors like `x`: kernels where they can run."""
    if x.device.type != "cuda" or x.dtype is torch.float64 or not segments.granule:
        return plain_products
    if importlib.util.find_spec("triton") is None:
        return plain_products
    from loratory.objectives.packing import kernels

    return kernels
