"""Inputs that several layers read: x A and the gradient of x are computed once for all of these layers.

In a transformer the query, key and value layers read one input, and so do the gate and up layers. x is much
wider than x A, so reading x (and writing its gradient) is what the products with A cost.
"""

import weakref

import torch

from loratory.objectives.packing.stack import Family


class FamilyPass:
    """The products with A that a family of layers shares in one pass.

    Attributes:
        family: the layers.
        shrunk: [T, n R], s x A of all n layers; released once every layer has taken its part.
        d_shrunk: [T, n R], the gradient of x A of all n layers, filled in layer by layer.
        readers: names of the layers that have taken their part of `shrunk`.
        awaited: those of them whose backward pass is still to come.
    """

    def __init__(self, family: Family) -> None:
        """Start with no reader."""
        self.family = family
        self.shrunk: torch.Tensor | None = None
        self.d_shrunk: torch.Tensor | None = None
        self.readers: set[str] = set()
        self.awaited: set[str] = set()

    def take(self, layer: str, *, needs_backward: bool) -> torch.Tensor:
        """Return a layer's part [T, R] of `shrunk`, and note whether its backward pass will come."""
        assert self.shrunk is not None
        part = self._part(self.shrunk, layer)
        if needs_backward:
            self.awaited.add(layer)
        self.readers.add(layer)
        if len(self.readers) == len(self.family.layers):
            self.shrunk = None
        return part

    def gradient_part(self, layer: str, dy: torch.Tensor, *, rank: int) -> torch.Tensor:
        """Return a layer's part [T, R] of `d_shrunk`, to be written by its backward pass.

        Args:
            layer: name of the layer.
            dy: [T, outputs], whose dtype and device the gradient has.
            rank: R.
        """
        if self.d_shrunk is None:  # the first layer of the backward pass: all readers are still awaited
            layers = len(self.family.layers)
            # Layers without a backward pass contribute zeros.
            allocate = dy.new_empty if len(self.awaited) == layers else dy.new_zeros
            self.d_shrunk = allocate(len(dy), layers * rank)
        return self._part(self.d_shrunk, layer)

    def _part(self, wide: torch.Tensor, layer: str) -> torch.Tensor:
        """Return a layer's columns [T, R] of the family's [T, n R]."""
        return wide.chunk(len(self.family.layers), dim=1)[self.family.layers.index(layer)]


class SharedInput:
    """An input x that several layers read. Their backward passes sum its gradient in one buffer.

    Autograd would allocate a gradient for each layer and add them up in kernels of their own.

    Attributes:
        needs_gradient: whether autograd wants the gradient of x.
        d_x: [T, inputs], the sum of the layers' gradients so far.
    """

    def __init__(self, x: torch.Tensor) -> None:
        """Start with no reader.

        Args:
            x: the input; it is not kept alive.
        """
        self._x = weakref.ref(x)
        self._families: list[FamilyPass] = []
        self.needs_gradient = False
        self.d_x: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """True if the backward pass of every layer that read x has run."""
        return not any(family.awaited for family in self._families)

    def is_of(self, x: torch.Tensor) -> bool:
        """Return whether this object stands for the tensor `x`."""
        return self._x() is x

    def family_pass(self, family: Family, *, layer: str) -> FamilyPass:
        """Return the products of a family with x; new ones where `layer` has read x before."""
        for known in self._families:
            if known.family == family and layer not in known.readers:
                return known
        self._families.append(FamilyPass(family))
        return self._families[-1]

    def take_gradient(self) -> torch.Tensor | None:
        """Return the gradient of x, to be handed to autograd; None while it is not complete."""
        if not self.complete:
            return None
        d_x, self.d_x = self.d_x, None
        return d_x


class SharedInputs:
    """The inputs that layers read in one pass.

    Attributes:
        latest: the input that was read last.
    """

    def __init__(self, *, record: bool) -> None:
        """Start with no input.

        Args:
            record: keep all inputs, to check after the backward pass that each is complete.
        """
        self.latest: SharedInput | None = None
        self._recorded: list[SharedInput] | None = [] if record else None

    def of(self, x: torch.Tensor) -> SharedInput:
        """Return the shared input of `x`: layers that read one tensor one after the other get the same."""
        if self.latest is None or not self.latest.is_of(x):
            self.latest = SharedInput(x)
            if self._recorded is not None:
                self._recorded.append(self.latest)
        return self.latest

    def stop_recording(self) -> list[SharedInput]:
        """Return the inputs that were recorded, and record no more."""
        recorded, self._recorded = self._recorded or [], None
        return recorded
