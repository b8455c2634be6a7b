"""A frozen linear layer that takes the place of a base's own, with the adapters of all slots."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from loratory.objectives.packing.adapted import adapted_linear
from loratory.objectives.packing.context import PassContext
from loratory.objectives.packing.dropout import stable_hash


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
        return adapted_linear(x, self)

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
