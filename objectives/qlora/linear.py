"""A frozen linear layer with the adapters of all slots: one autograd function, no loop over slots."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from loratory.objectives.qlora.dropout import drop, stable_hash
from loratory.objectives.qlora.stack import AdapterStack


@dataclass
class Lanes:
    """What all layers of a base share: whose adapters take part in the pass at hand.

    Attributes:
        stack: the adapters, K lanes of equal numbers of tokens; None for the bare base.
        gradients: [K, P], what backward passes add to; None where nothing trains.
        dropout_keys: int32 [K, T], of the tokens; None where nothing is dropped.
        dropout_thresholds: int32 [K].
    """

    stack: AdapterStack | None = None
    gradients: torch.Tensor | None = None
    dropout_keys: torch.Tensor | None = None
    dropout_thresholds: torch.Tensor | None = None


class PackedLinear(nn.Module):
    """y = W x + b + s B A dropout(x), with W frozen and s, A, B of each lane's own adapter.

    Whatever the shape of its input, the lanes are K equal parts of its tokens, one after the other.
    """

    def __init__(self, name: str, weight: "FrozenWeight", bias: torch.Tensor | None, lanes: Lanes) -> None:
        """Take the place of a linear layer.

        Args:
            name: full name of the layer in the base.
            weight: the frozen matrix.
            bias: [outputs], frozen, or None.
            lanes: shared with all layers of the base.
        """
        super().__init__()
        self.bias: torch.Tensor | None
        self.name, self.frozen, self.lanes = name, weight, lanes
        self.in_features, self.out_features = weight.inputs, weight.outputs
        self.register_buffer("bias", bias, persistent=False)
        self.salt = stable_hash(name) >> 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., inputs] to [..., outputs]."""
        stack = self.lanes.stack
        if stack is None or self.name not in stack.layers:
            return _FrozenLinear.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]
        lanes = x.reshape(stack.slots, -1, self.in_features)
        # The first layers' input needs no gradient, their adapters do: the anchor says so to autograd.
        anchor = stack.master.new_empty(0, requires_grad=torch.is_grad_enabled())
        y = _AdaptedLinear.apply(lanes, anchor, self)  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], self.out_features)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Name and sizes."""
        return f"{self.name}, {self.in_features} -> {self.out_features}"


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

    def __call__(self) -> torch.Tensor:
        """The matrix in the compute dtype."""
        return self.read() if self.held is None else self.held


class _FrozenLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
        ctx.layer = layer
        return nn.functional.linear(x, layer.frozen(), layer.bias)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        return dy @ ctx.layer.frozen(), None


class _AdaptedLinear(torch.autograd.Function):
    """Forward and backward over K lanes. Gradients of A and B are added to the pack's, not returned."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, _anchor: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
        lanes = layer.lanes
        assert lanes.stack is not None
        a, b = lanes.stack.compute_matrices(layer.name)
        low = torch.bmm(_dropped(x, layer), a.transpose(1, 2)) * lanes.stack.scaling
        y = nn.functional.linear(x.view(-1, layer.in_features), layer.frozen(), layer.bias)
        ctx.layer = layer
        ctx.save_for_backward(x, low)
        return y.view(x.shape[0], x.shape[1], -1).baddbmm_(low, b)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:
        layer: PackedLinear = ctx.layer
        x, low = ctx.saved_tensors
        lanes, dy = layer.lanes, dy.contiguous()
        assert lanes.stack is not None and lanes.gradients is not None
        a, b = lanes.stack.compute_matrices(layer.name)
        grad_a, grad_b = lanes.stack.matrices(lanes.gradients, layer.name)
        d_low = torch.bmm(dy, b.transpose(1, 2)) * lanes.stack.scaling
        _add_product(grad_b, low, dy)
        _add_product(grad_a, d_low, _dropped(x, layer))
        if not ctx.needs_input_grad[0]:
            return None, None, None
        dx = (dy.view(-1, layer.out_features) @ layer.frozen()).view_as(x)
        if lanes.dropout_keys is None:
            return dx.baddbmm_(d_low, a), None, None
        return dx.add_(_dropped(torch.bmm(d_low, a), layer)), None, None


def _dropped(x: torch.Tensor, layer: PackedLinear) -> torch.Tensor:
    lanes = layer.lanes
    if lanes.dropout_keys is None or lanes.dropout_thresholds is None:
        return x
    return drop(x, lanes.dropout_keys, lanes.dropout_thresholds, salt=layer.salt)


def _add_product(total: torch.Tensor, low: torch.Tensor, wide: torch.Tensor) -> None:
    """Total [K, R, F] += low^T [K, R, T] @ wide [K, T, F], added up in the dtype of the total."""
    if total.dtype is low.dtype:
        total.baddbmm_(low.transpose(1, 2), wide)
    elif total.device.type == "cuda":
        total.add_(torch.bmm(low.transpose(1, 2), wide, out_dtype=total.dtype))
    else:
        total.add_(torch.bmm(low.transpose(1, 2), wide))
