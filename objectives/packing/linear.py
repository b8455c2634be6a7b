"""A frozen linear layer with the adapters of all slots: one autograd function, no launches per slot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from loratory.objectives.packing.adapted import go_back, narrow, pass_of, products_for
from loratory.objectives.packing.context import PassContext, SharedInput
from loratory.objectives.packing.dropout import stable_hash


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

    @property
    def adapted(self) -> bool:
        """Whether the pass at hand has adapters for this layer."""
        return self.context.stack is not None and self.name in self.context.stack.layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., inputs] to [..., outputs]."""
        if not self.adapted:
            return _FrozenLinear.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]
        shared, anchor = self.context.share(x), self.context.anchor()
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

    Layers that read one input share the products with A, in both directions, unless they drop numbers of it:
    x and its gradient are much wider than what an adapter makes of them, and reading them is what it costs.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, _anchor: torch.Tensor, layer: PackedLinear, shared: SharedInput
    ) -> torch.Tensor:
        low, together = narrow(layer, x, shared, goes_back=any(ctx.needs_input_grad))
        shared.wanted |= ctx.needs_input_grad[0]
        stack, segments, _ = pass_of(layer.context)
        _, b = stack.matrices(stack.compute, layer.name)
        # The adapter's share first and the base's product added to it: one pass over y less.
        y = products_for(x, segments).expand(low, b, segments, bias=layer.bias)
        ctx.layer, ctx.shared, ctx.together = layer, shared, together
        ctx.save_for_backward(x, low)
        y.addmm_(x, layer.frozen().t())
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        x, low = ctx.saved_tensors
        go_back(ctx.layer, dy.contiguous(), x=x, low=low, shared=ctx.shared, together=ctx.together)
        return ctx.shared.take_sum(), None, None, None
