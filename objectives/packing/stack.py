"""The LoRA matrices of all slots of a pack, stacked in flat tensors (Hu et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

# Names that transformers' models give to layers that read the same input.
_SIBLINGS = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})

AdapterState = dict[str, torch.Tensor]
"""LoRA matrices by the names that PEFT's file gives them: A [rank, inputs], B [outputs, rank]."""

FILE_PREFIX = "base_model.model."
"""The prefix that PeftModel puts before the base's own module names."""

RANK_STEP = 8
"""The rank of a stack is a multiple of it, as kernels need."""


@dataclass(frozen=True)
class Family:
    """Layers that read the same input; their matrices A are adjacent in a slot's row.

    Attributes:
        layers: their names.
        inputs: number of input features.
        start: offset of the first A in a slot's row.
    """

    layers: tuple[str, ...]
    inputs: int
    start: int


@dataclass(frozen=True)
class _Place:
    """Offsets of a layer's A and transposed B in a slot's row, with the layer's sizes and family."""

    a: int
    b: int
    inputs: int
    outputs: int
    family: Family


def siblings(layers: Mapping[str, tuple[int, int]]) -> list[tuple[str, ...]]:
    """Group layers that belong to one module and, by their names, read the same input.

    Args:
        layers: full module name to (inputs, outputs).

    Returns:
        The names of each group.
    """
    together: dict[tuple[str, str, int], list[str]] = {}
    for name, (inputs, _) in layers.items():
        parent, _, leaf = name.rpartition(".")
        kind = next((min(names) for names in _SIBLINGS if leaf in names), leaf)
        together.setdefault((parent, kind, inputs), []).append(name)
    return [tuple(names) for names in together.values()]


class AdapterStack:
    """K adapters of rank at most R over the same layers, each one row of flat tensors [K, P].

    A layer's A is stored as [R, inputs] and its B, transposed, as [R, outputs]. The A of layers that read the
    same input are adjacent, so that one product computes x A for all of them. The rows of an adapter of
    smaller rank, or without some layers, are padded with zeros. Where A and B are both zero, so are their
    gradients: AdamW leaves the padding exactly zero without a mask.

    Attributes:
        slots: K.
        rank: R, a multiple of `RANK_STEP`.
        layers: names of the layers that have matrices.
        master: [K, P], the parameters of AdamW; fp32 (fp64 where the base computes in fp64). In a stack that
            does not train it is `compute`.
        compute: [K, P] in the compute dtype, read by passes; the same tensor as `master` where the dtypes are
            equal.
        scaling: [K, 1, 1], LoRA's factor s; fp32 (fp64 where the base computes in fp64).
    """

    def __init__(
        self,
        layers: Mapping[str, tuple[int, int]],
        *,
        slots: int,
        rank: int,
        device: torch.device,
        compute_dtype: torch.dtype,
        trains: bool = True,
    ) -> None:
        """Allocate empty adapters.

        Args:
            layers: full module name to (inputs, outputs).
            slots: K.
            rank: the largest rank that any adapter will have.
            device: of the base.
            compute_dtype: of the base.
            trains: whether the adapters are updated; copies that are only read need no fp32 master.
        """
        self.slots, self.rank = slots, -(-rank // RANK_STEP) * RANK_STEP
        self._places: dict[str, _Place] = {}
        size = 0
        for names in siblings(layers):
            size = self._place(names, layers, size)
        self.layers = frozenset(self._places)
        wide = torch.promote_types(compute_dtype, torch.float32)
        self.master = torch.zeros(slots, size, dtype=wide if trains else compute_dtype, device=device)
        self.compute = self.master if self.master.dtype is compute_dtype else self.master.to(compute_dtype)
        self.scaling = torch.ones(slots, 1, 1, dtype=wide, device=device)

    def _place(self, names: tuple[str, ...], layers: Mapping[str, tuple[int, int]], start: int) -> int:
        """Assign offsets from `start` on to the layers of a family, and return the offset after them."""
        inputs = layers[names[0]][0]
        family, a, b = Family(names, inputs, start), start, start + len(names) * self.rank * inputs
        for name in names:
            outputs = layers[name][1]
            self._places[name] = _Place(a, b, inputs, outputs, family)
            a, b = a + self.rank * inputs, b + self.rank * outputs
        return b

    @property
    def parameters_per_slot(self) -> int:
        """P, the number of elements of a slot's row."""
        return self.master.shape[1]

    def matrices(self, flat: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's A [K, R, inputs] and transposed B [K, R, outputs]: views of `flat` [K, P]."""
        place = self._places[layer]
        return (
            _rows(flat, place.a, self.rank, place.inputs),
            _rows(flat, place.b, self.rank, place.outputs),
        )

    def family(self, layer: str) -> Family:
        """Return the layers that read the same input as a layer, itself included."""
        return self._places[layer].family

    def alone(self, layer: str) -> Family:
        """Return a family of one layer only."""
        place = self._places[layer]
        return Family((layer,), place.inputs, place.a)

    def shared_matrix(self, flat: torch.Tensor, family: Family) -> torch.Tensor:
        """Return A of all n layers of a family [K, n R, inputs]: a view of `flat` [K, P]."""
        return _rows(flat, family.start, len(family.layers) * self.rank, family.inputs)

    @torch.no_grad()
    def put(self, slot: int, state: Mapping[str, torch.Tensor], *, scaling: float) -> None:
        """Write an adapter into a slot."""
        row = self.master[slot].zero_()
        # Copied matrix by matrix: assembling a row on the CPU first takes longer than a pack step.
        for name, tensor in state.items():
            self._view(row, name, tensor.shape).copy_(tensor, non_blocking=True)
        self.scaling[slot].fill_(scaling)
        self.refresh(slot)

    @torch.no_grad()
    def copy(self, slot: int, other: "AdapterStack", other_slot: int) -> None:
        """Copy an adapter, in the compute dtype, from another stack over the same layers."""
        self.master[slot].copy_(other.compute[other_slot])
        self.scaling[slot].copy_(other.scaling[other_slot])
        self.refresh(slot)

    @torch.no_grad()
    def clear(self, slot: int) -> None:
        """Zero the adapter of a slot."""
        self.master[slot].zero_()
        self.refresh(slot)

    @torch.no_grad()
    def refresh(self, slot: int) -> None:
        """Copy a slot's `master` to `compute`."""
        if self.compute is not self.master:
            self.compute[slot].copy_(self.master[slot])

    def flatten(self, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return a row [P] on the CPU with an adapter's matrices at their offsets, and zeros elsewhere."""
        row = torch.zeros(self.parameters_per_slot, dtype=self.master.dtype)
        for name, tensor in state.items():
            self._view(row, name, tensor.shape).copy_(tensor)
        return row

    def compact(self, row: torch.Tensor, like: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Copy the adapter in a row, on the row's device, to a tensor [n] with its matrices end to end.

        `named` splits the result by name.

        Args:
            row: [P], laid out like a row of this stack.
            like: an adapter of the same names and shapes, in the dtype of the result.

        Raises:
            ValueError: the row is not a contiguous [P].
        """
        if row.shape != self.master.shape[1:] or not row.is_contiguous():
            raise ValueError(
                f"row: must have {self.parameters_per_slot} numbers without gaps, got {row.shape}"
            )
        dtype = next(iter(like.values())).dtype
        parts = [self._view(row, name, tensor.shape).reshape(-1) for name, tensor in like.items()]
        return torch.cat(parts).to(dtype)

    def _view(self, row: torch.Tensor, name: str, shape: torch.Size) -> torch.Tensor:
        """Return a view of an adapter's matrix in a row [P].

        One `as_strided` per matrix, since an adapter has hundreds and a trial's copy reads all of them.

        Raises:
            ValueError: the rank is too large for the stack, or the number of features is another.
        """
        layer, _, matrix = name.removeprefix(FILE_PREFIX).removesuffix(".weight").rpartition(".")
        place, is_a = self._places[layer], matrix == "lora_A"
        features, start = (place.inputs, place.a) if is_a else (place.outputs, place.b)
        rank, width = shape if is_a else reversed(shape)
        if rank > self.rank or width != features:
            raise ValueError(
                f"{name}: must have a rank of at most {self.rank} and {features} features, got {tuple(shape)}"
            )
        rows = row.as_strided((rank, features), (features, 1), row.storage_offset() + start)
        return rows if is_a else rows.T


def named(compact: torch.Tensor, like: Mapping[str, torch.Tensor]) -> AdapterState:
    """Split matrices that lie end to end into views with the names and shapes of `like`."""
    parts = torch.split(compact, [tensor.numel() for tensor in like.values()])
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}


def _rows(flat: torch.Tensor, start: int, rows: int, columns: int) -> torch.Tensor:
    """Return matrices [K, rows, columns] that begin at an offset of every slot's row."""
    return flat[:, start : start + rows * columns].view(flat.shape[0], rows, columns)
