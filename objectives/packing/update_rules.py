"""Optimisers of a slot, and the memory of their state."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch

from loratory.objectives.packing.moment_formats import MOMENTS, Spans, moment_bytes
from loratory.objectives.packing.moments import PIECE_NUMBERS, Moments, MomentStorage
from loratory.objectives.packing.stored_adamw import StoredAdamW
from loratory.spaces.training import OptimizerName, TrainingParameters

BETAS, EPSILON = (0.9, 0.999), 1e-8


class SlotRows(NamedTuple):
    """Rows of a slot that an optimiser reads and updates.

    Attributes:
        master: [P], the slot's matrices, updated in place.
        gradient: [P], to which passes add.
        spans_a: the parts of a row that hold the matrices A.
        spans_b: the parts of a row that hold the matrices B.
    """

    master: torch.Tensor
    gradient: torch.Tensor
    spans_a: Spans
    spans_b: Spans


def joined_spans(matrices: Iterable[torch.Tensor]) -> Spans:
    """Return the parts of a row that matrices fill, with adjacent parts joined.

    Args:
        matrices: contiguous views of the first row of a tensor.
    """
    joined: list[slice] = []
    for start, size in sorted((matrix.storage_offset(), matrix.numel()) for matrix in matrices):
        begin = joined.pop().start if joined and joined[-1].stop == start else start
        joined.append(slice(begin, start + size))
    return joined


class Built(NamedTuple):
    """An optimiser with zero state.

    Attributes:
        optimizer: each parameter group multiplies the trial's learning rate by its `ratio`.
        moments: the moments, updated in place.
        steps: fp32 [n], the step count of each parameter; all are equal.
    """

    optimizer: torch.optim.Optimizer
    moments: Moments
    steps: torch.Tensor


class UpdateRule(Protocol):
    """An optimiser of the study file, with its settings."""

    def build(self, rows: SlotRows, *, weight_decay: float, storage: MomentStorage | None = None) -> Built:
        """Return the optimiser over a slot's rows.

        Args:
            rows: the rows.
            weight_decay: decoupled weight decay.
            storage: where the moments are kept; None: on the device, in the dtype of the master weights.
        """


@dataclass(frozen=True)
class AdamW:
    """AdamW with one learning rate (Loshchilov and Hutter, 2019); the whole row is one parameter."""

    @classmethod
    def of(cls, _: TrainingParameters) -> Self:
        """Return the rule."""
        return cls()

    @staticmethod
    def bytes_per_number(wide: int, bits: int) -> float:
        """Return the memory of the moments."""
        return len(MOMENTS) * moment_bytes(bits, wide)

    def build(self, rows: SlotRows, *, weight_decay: float, storage: MomentStorage | None = None) -> Built:
        """Return AdamW over the row."""
        return _adamw(rows, [(1.0, [slice(None)])], weight_decay=weight_decay, storage=storage)


ADAMW = AdamW()


@dataclass(frozen=True)
class LoraPlus:
    """LoRA+ (Hayou et al., 2024): AdamW in which B has `ratio` times the learning rate of A.

    Attributes:
        ratio: learning rate of B over that of A.
    """

    ratio: float

    @classmethod
    def of(cls, training: TrainingParameters) -> Self:
        """Return the rule with a trial's ratio."""
        return cls(training.lora_plus_ratio)

    @staticmethod
    def bytes_per_number(wide: int, bits: int) -> float:
        """Return the memory of the moments."""
        return len(MOMENTS) * moment_bytes(bits, wide)

    def build(self, rows: SlotRows, *, weight_decay: float, storage: MomentStorage | None = None) -> Built:
        """Return AdamW with two groups of parameters."""
        groups = [(1.0, rows.spans_a), (self.ratio, rows.spans_b)]
        return _adamw(rows, groups, weight_decay=weight_decay, storage=storage)


_RULES: dict[OptimizerName, type[AdamW | LoraPlus]] = {
    OptimizerName.ADAMW: AdamW,
    OptimizerName.LORA_PLUS: LoraPlus,
}


def update_rule(training: TrainingParameters) -> UpdateRule:
    """Return the optimiser that a trial trains with."""
    return _RULES[training.optimizer].of(training)


def state_bytes_per_number(
    names: Sequence[str], *, wide: int, bits: int = 32, offload: bool = False
) -> float:
    """Return the most device memory of an optimiser's state per number of a slot's row.

    Offloaded state takes none beside `staging_bytes`, and as many bytes of host memory as it would take here.

    Args:
        names: optimisers that trials may use.
        wide: bytes of a master weight.
        bits: of each moment, 32 or 8.
        offload: whether the state is kept in host memory.
    """
    return 0 if offload else max(_RULES[OptimizerName(name)].bytes_per_number(wide, bits) for name in names)


def staging_bytes(names: Sequence[str], numbers: int, *, wide: int, bits: int = 32) -> int:
    """Return the device memory through which offloaded state passes, once per pack.

    Args:
        names: optimisers that trials may use.
        numbers: numbers in a slot's row.
        wide: bytes of a master weight.
        bits: of each moment, 32 or 8.
    """
    return math.ceil(min(numbers, PIECE_NUMBERS) * state_bytes_per_number(names, wide=wide, bits=bits))


class _Rows:
    """Moments that are rows [P] on the device."""

    def __init__(self, rows: Mapping[str, torch.Tensor]) -> None:
        self._rows = rows

    def rows(self, *, on_cpu: bool) -> Iterator[tuple[str, torch.Tensor]]:
        for name, row in self._rows.items():
            yield name, row.to("cpu") if on_cpu else row

    def load(self, name: str, row: torch.Tensor) -> None:
        self._rows[name].copy_(row)


def _adamw(
    rows: SlotRows,
    groups: Sequence[tuple[float, Spans]],
    *,
    weight_decay: float,
    storage: MomentStorage | None,
) -> Built:
    """Build AdamW over parts of a row, with ratios to the trial's learning rate."""
    if storage is None or storage.plain:
        return _fused_adamw(rows, groups, weight_decay=weight_decay)
    moments = storage.new()
    optimizer = StoredAdamW(
        rows.master,
        rows.gradient,
        moments,
        groups,
        weight_decay=weight_decay,
        betas=BETAS,
        epsilon=EPSILON,
    )
    return Built(optimizer, moments, optimizer.steps)


def _fused_adamw(rows: SlotRows, groups: Sequence[tuple[float, Spans]], *, weight_decay: float) -> Built:
    """Build PyTorch's fused AdamW over parts of a row, with ratios to the trial's learning rate.

    The state is made here: AdamW would make it in the first step, and leave it partial if memory ran out.
    """
    moments = {name: torch.zeros_like(rows.master) for name in MOMENTS}
    made: list[dict[str, object]] = []
    states: list[tuple[torch.nn.Parameter, dict[str, torch.Tensor]]] = []
    for ratio, spans in groups:
        parameters = [torch.nn.Parameter(rows.master[span]) for span in spans]
        for parameter, span in zip(parameters, spans, strict=True):
            parameter.grad = rows.gradient[span]
            states.append((parameter, {name: row[span] for name, row in moments.items()}))
        made.append({"params": parameters, "ratio": ratio})
    optimizer = torch.optim.AdamW(
        made, lr=0.0, betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True
    )
    steps = torch.zeros(len(states), dtype=torch.float32, device=rows.master.device)
    for step, (parameter, state) in zip(steps.unbind(), states, strict=True):
        optimizer.state[parameter] = {"step": step, **state}
    return Built(optimizer, _Rows(moments), steps)
