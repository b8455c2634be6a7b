"""The memory of a worker on its device, by named term."""

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class MemoryTerms:
    """Bytes on the device at the peak.

    Attributes:
        context: of the process: driver, libraries, compiled kernels.
        base: the frozen model as it is stored.
        held_base: the dequantised copy of its linear layers.
        adapters: matrices, their copies in the compute dtype and for scoring, and gradients.
        optimizer: the optimiser's moments.
        activations: tensors of the largest pass.
        graphs: what captured graphs take beside the tensors of the largest pass.
        cache: keys and values of prompts that are decoded.
        copies: adapters and moments on their way to the host.
        fragmentation: memory that the allocator holds and cannot use.
    """

    context: int
    base: int
    held_base: int
    adapters: int
    optimizer: int
    activations: int
    graphs: int
    cache: int
    copies: int
    fragmentation: int

    @property
    def total(self) -> int:
        """The sum of all terms."""
        return sum(vars(self).values())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield name and bytes of each term."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))
