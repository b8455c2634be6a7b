"""The pass that goes through the layers of a base: its adapters, segments, attention and gradient sink."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import torch

from loratory.objectives.packing.attention import SequenceLayout
from loratory.objectives.packing.dropout import DropoutKeys
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.kernels.selection import products_for
from loratory.objectives.packing.segments import Segments
from loratory.objectives.packing.shared_input import SharedInputs
from loratory.objectives.packing.stack import AdapterStack


@dataclass(frozen=True, kw_only=True)
class CurrentPass:
    """All that layers need to know about the pass that goes through them.

    Attributes:
        stack: the adapters.
        segments: the slot of each token.
        gradients: where the backward pass adds the gradients of A and B; None where nothing trains.
        dropout: keys of the dropout masks; None where nothing is dropped.
        attention: which tokens see which; None where the model's own attention runs.
    """

    stack: AdapterStack
    segments: Segments
    gradients: GradientSink | None = None
    dropout: DropoutKeys | None = None
    attention: SequenceLayout | None = None

    @cached_property
    def products(self) -> ModuleType:
        """The module with the adapters' products: `kernels.products`, or its Triton twin."""
        compute = self.stack.compute
        return products_for(self.segments, compute.device, compute.dtype)

    @cached_property
    def anchor(self) -> torch.Tensor:
        """An empty tensor that requires grad where the pass trains; an input of every adapted layer beside x.

        Autograd calls a layer's backward only if one of its inputs requires grad, and the x of the first
        layers does not: A and B are no inputs, since their gradients go to `gradients`.
        """
        return self.stack.master.new_empty(0, requires_grad=self.gradients is not None)

    @cached_property
    def inputs(self) -> SharedInputs:
        """The inputs that layers have read in this pass."""
        return SharedInputs(record=self.gradients is not None)

    def backward(self, loss: torch.Tensor) -> None:
        """Run the backward pass from a scalar loss: every adapted layer adds to `gradients`.

        Raises:
            RuntimeError: the output of some layer does not reach the loss; layers that read the same input
                then lack the gradients that are computed once the last of them has run.
        """
        # Checkpointed layers run their forward pass again meanwhile: what they read then is not waited for.
        inputs = self.inputs.stop_recording()
        loss.backward()  # type: ignore[no-untyped-call]
        if not all(shared.complete for shared in inputs):
            raise RuntimeError(
                "layers that read one input must all reach the loss, the output of one does not"
            )


class PassContext:
    """Tells the layers of a base which pass goes through them; all of them hold one context."""

    def __init__(self) -> None:
        """Start outside any pass, where the layers compute the base without adapters."""
        self._current: CurrentPass | None = None

    @property
    def current(self) -> CurrentPass | None:
        """The pass that was entered last; None outside any pass."""
        return self._current

    @contextlib.contextmanager
    def enter(self, current: CurrentPass) -> Iterator[CurrentPass]:
        """Let the layers work on a pass, forward and backward, until the block ends.

        Raises:
            RuntimeError: the block of another pass has not ended.
        """
        if self._current is not None:
            raise RuntimeError("a pass must be over before the next is entered, one is not")
        self._current = current
        try:
            yield current
        finally:
            self._current = None
