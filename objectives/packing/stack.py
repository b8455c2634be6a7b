"""The LoRA matrices of all slots of a pack, stacked in flat tensors (Hu et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

# Layers that read one input, by the names that transformers' models give them.
_SIBLINGS = ({"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"})

AdapterState = dict[str, torch.Tensor]
"""LoRA matrices by the names that PEFT's file gives them: A [rank, inputs], B [outputs, rank]."""

FILE_PREFIX = "base_model.model."
"""What PeftModel puts before the base's own module names."""

RANK_STEP = 8
"""Stacks have room for ranks in multiples of it: kernels want their sizes so."""


@dataclass(frozen=True)
class Family:
    """Layers that read one input: in a slot's flat row their matrices A stand together.

    Attributes:
        layers: their names.
        inputs: features that they read.
        start: where the first A begins.
    """

    layers: tuple[str, ...]
    inputs: int
    start: int


@dataclass(frozen=True)
class _Place:
    """Where a layer's A and its B, transposed, begin in a slot's flat row."""

    a: int
    b: int
    inputs: int
    outputs: int
    family: Family


def siblings(layers: Mapping[str, tuple[int, int]]) -> list[tuple[str, ...]]:
    """Names of layers, those together that stand in one module and by their names read one input."""
    together: dict[tuple[str, str, int], list[str]] = {}
    for name, (inputs, _) in layers.items():
        parent, _, leaf = name.rpartition(".")
        kind = next((min(names) for names in _SIBLINGS if leaf in names), leaf)
        together.setdefault((parent, kind, inputs), []).append(name)
    return [tuple(names) for names in together.values()]


class AdapterStack:
    """K adapters of rank at most R over the same layers, each one row of flat tensors [K, P].

    Of a layer, A is stored as [R, inputs] and B as [R, outputs]; the A of layers that read one input follow
    each other, so that one product reads it for all of them. An adapter of a smaller rank, or without
    some layer, has zeros in the places left over. With A and B both zero there, so are their gradients:
    AdamW leaves such places exactly zero, and no mask is needed.

    Attributes:
        slots: K.
        rank: R, a multiple of eight.
        master: [K, P], what AdamW updates; fp32 (fp64 where the base computes in it). In a stack that does
            not train it is `compute`.
        compute: [K, P] in the compute dtype, what passes read; the same tensor where the dtypes are equal.
        scaling: [K, 1, 1], LoRA's factor; fp32 (fp64 where the base computes in it).
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
        """Allocate a stack of empty adapters.

        Args:
            layers: full module name to (inputs, outputs).
            slots: K.
            rank: the largest rank that any adapter will have.
            device: where the base is.
            compute_dtype: the base's.
            trains: whether the adapters are updated; copies that are only read need no wider form.
        """
        self.slots, self.rank = slots, -(-rank // RANK_STEP) * RANK_STEP
        self._places: dict[str, _Place] = {}
        size = 0
        for names in siblings(layers):
            size = self._place(names, layers, size)
        wide = torch.promote_types(compute_dtype, torch.float32)
        self.master = torch.zeros(slots, size, dtype=wide if trains else compute_dtype, device=device)
        self.compute = self.master if self.master.dtype is compute_dtype else self.master.to(compute_dtype)
        self.scaling = torch.ones(slots, 1, 1, dtype=wide, device=device)

    def _place(self, names: tuple[str, ...], layers: Mapping[str, tuple[int, int]], start: int) -> int:
        """Give the layers of a family their places in a row; where the next may begin."""
        inputs = layers[names[0]][0]
        family, a, b = Family(names, inputs, start), start, start + len(names) * self.rank * inputs
        for name in names:
            outputs = layers[name][1]
            self._places[name] = _Place(a, b, inputs, outputs, family)
            a, b = a + self.rank * inputs, b + self.rank * outputs
        return b

    @property
    def layers(self) -> frozenset[str]:
        """Names of the layers that have matrices."""
        return frozenset(self._places)

    @property
    def parameters_a_slot(self) -> int:
        """P: numbers in a slot's row."""
        return self.master.shape[1]

    def matrices(self, flat: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A [K, R, inputs] and B transposed [K, R, outputs] of a layer: views into [K, P]."""
        place = self._places[layer]
        return (
            _rows(flat, place.a, self.rank, place.inputs),
            _rows(flat, place.b, self.rank, place.outputs),
        )

    def family(self, layer: str) -> Family:
        """The layers that read what a layer reads."""
        return self._places[layer].family

    def alone(self, layer: str) -> Family:
        """A layer as a family of its own."""
        place = self._places[layer]
        return Family((layer,), place.inputs, place.a)

    def shared_matrix(self, flat: torch.Tensor, family: Family) -> torch.Tensor:
        """A of all layers of a family [K, n R, inputs]: a view into [K, P]."""
        return _rows(flat, family.start, len(family.layers) * self.rank, family.inputs)

    @torch.no_grad()
    def put(self, slot: int, state: Mapping[str, torch.Tensor], *, scaling: float) -> None:
        """Write an adapter into a slot."""
        row = self.master[slot].zero_()
        # Straight to the device: a row made on the CPU first takes longer than a pack step.
        for name, tensor in state.items():
            self._view(row, name, tensor.shape).copy_(tensor, non_blocking=True)
        self.scaling[slot].fill_(scaling)
        self.refresh(slot)

    @torch.no_grad()
    def copy(self, slot: int, other: "AdapterStack", other_slot: int) -> None:
        """Take over an adapter, as passes read it, from another stack over the same layers."""
        self.master[slot].copy_(other.compute[other_slot])
        self.scaling[slot].copy_(other.scaling[other_slot])
        self.refresh(slot)

    @torch.no_grad()
    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self.master[slot].zero_()
        self.refresh(slot)

    @torch.no_grad()
    def refresh(self, slot: int) -> None:
        """Bring the compute copy of a slot up to date."""
        if self.compute is not self.master:
            self.compute[slot].copy_(self.master[slot])

    def flatten(self, state: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A row [P] on the CPU with an adapter in it, zeros around it."""
        row = torch.zeros(self.parameters_a_slot, dtype=self.master.dtype)
        for name, tensor in state.items():
            self._view(row, name, tensor.shape).copy_(tensor)
        return row

    def unflatten(self, row: torch.Tensor, like: Mapping[str, torch.Tensor]) -> AdapterState:
        """The adapter that stands in a row [P], with names and shapes of another."""
        return named(self.compact(row, like), like)

    def compact(self, row: torch.Tensor, like: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A copy of an adapter that stands in a row [P], where the row is: its matrices end to end.

        Args:
            row: of this stack's form.
            like: an adapter of the same names, shapes and dtype.

        Raises:
            ValueError: the row is not [P] without gaps.
        """
        if row.shape != self.master.shape[1:] or not row.is_contiguous():
            raise ValueError(f"row: must have {self.parameters_a_slot} numbers without gaps, got {row.shape}")
        dtype = next(iter(like.values())).dtype
        parts = [self._view(row, name, tensor.shape).reshape(-1) for name, tensor in like.items()]
        return torch.cat(parts).to(dtype)

    def _view(self, row: torch.Tensor, name: str, shape: torch.Size) -> torch.Tensor:
        """A matrix of an adapter in a row [P]; there are hundreds, and a trial's copy asks for all of them.

        Raises:
            ValueError: a slot has no room for a matrix of that shape.
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
    """Matrices that lie end to end, as views with names and shapes of others."""
    parts = torch.split(compact, [tensor.numel() for tensor in like.values()])
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}


def _rows(flat: torch.Tensor, start: int, rows: int, columns: int) -> torch.Tensor:
    """Matrices [K, rows, columns] that begin at one place of every slot's row."""
    return flat[:, start : start + rows * columns].view(flat.shape[0], rows, columns)
