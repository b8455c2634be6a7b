"""The gradients of all adapters, which backward passes add to and optimisers read."""

from types import ModuleType

import torch

from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.segments import Segments
from loratory.objectives.packing.stack import AdapterStack, Family


class GradientSink:
    """Gradients of A and B of all slots, summed over passes until a slot's update.

    `Pack` owns one and gives it to each training pass. In the backward pass every adapted layer calls `add_a`
    and `add_b`. `SlotOptimizer.step` reads the row of its slot and zeroes it.

    Attributes:
        flat: [K, P], laid out like `AdapterStack.master` and of the same dtype.
    """

    def __init__(self, stack: AdapterStack) -> None:
        """Allocate zeros for the adapters of a stack."""
        self._stack = stack
        self.flat = torch.zeros_like(stack.master)

    def add_a(
        self,
        family: Family,
        d_shrunk: torch.Tensor,
        x: torch.Tensor,
        segments: Segments,
        *,
        products: ModuleType,
        dropout: Dropout | None,
    ) -> None:
        """Add the gradient of A for all layers of a family: d_shrunk^T dropout(x), slot by slot.

        Args:
            family: the layers.
            d_shrunk: [T, n R], the gradient of x A.
            x: [T, inputs], the input of the layers.
            segments: the slot of each token.
            products: the module that computes it, `kernels.products` or its Triton twin.
            dropout: the dropout of x; None where nothing is dropped.
        """
        total = self._stack.shared_matrix(self.flat, family)
        products.accumulate(total, d_shrunk, x, segments, dropout=dropout)

    def add_b(
        self,
        layer: str,
        shrunk: torch.Tensor,
        dy: torch.Tensor,
        segments: Segments,
        *,
        products: ModuleType,
    ) -> None:
        """Add the gradient of a layer's B, transposed: shrunk^T dy, slot by slot.

        Args:
            layer: name of the layer.
            shrunk: [T, R], s x A.
            dy: [T, outputs], the gradient of the layer's output.
            segments: the slot of each token.
            products: the module that computes it, `kernels.products` or its Triton twin.
        """
        _, total = self._stack.matrices(self.flat, layer)
        products.accumulate(total, shrunk, dy, segments)
