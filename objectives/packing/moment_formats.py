"""Number formats of AdamW's moments: the dtype of the master weights, or 8-bit codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.optim.adamw import adamw

from loratory.objectives.packing.kernels.adamw_8bit import AdamWStep
from loratory.objectives.packing.kernels.dynamic_codes import BLOCK, BlockCodes, dequantize, quantize
from loratory.objectives.packing.kernels.selection import adamw_8bit_for

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's names of the first and second moment."""

Spans = Sequence[slice]
"""Parts of a row [P]."""

Moment = tuple[torch.Tensor, ...]
"""Tensors that hold one moment of a part of a row."""

# Numbers that are quantised or read at once; a multiple of the block.
_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class RowStep:
    """A step of AdamW on a row: `common`, and the spans that have each ratio to the learning rate."""

    common: AdamWStep
    groups: Sequence[tuple[float, Spans]]


class MomentFormat(Protocol):
    """How the moments of a part of a row are kept."""

    def zeros(self, numbers: int, *, device: torch.device, pinned: bool = False) -> Moment:
        """Allocate a moment of zeros; `pinned` in host memory that the GPU reads directly."""

    def read(self, moment: Moment, name: str) -> torch.Tensor:
        """Return the numbers [n], maybe the tensor that holds them."""

    def write(self, moment: Moment, name: str, numbers: torch.Tensor) -> None:
        """Store numbers [n] of any device."""

    def update(
        self,
        master: torch.Tensor,
        gradient: torch.Tensor,
        moments: Sequence[Moment],
        step: RowStep,
        *,
        first: int,
    ) -> None:
        """Update n numbers from `first` on and both their moments, all on one device, in place."""


def moment_format(bits: int, dtype: torch.dtype) -> MomentFormat:
    """Return the format of moments for master weights of a dtype.

    Raises:
        ValueError: bits are neither 32 nor 8.
    """
    if bits not in (32, 8):
        raise ValueError(f"optimizer_bits must be 32 or 8, got {bits}")
    return EightBits(dtype) if bits == 8 else FullPrecision(dtype)


def moment_bytes(bits: int, wide: int) -> float:
    """Return the bytes per number of one moment.

    Args:
        bits: 32 or 8.
        wide: bytes of a master weight.
    """
    return 1 + 4 / BLOCK if bits == 8 else wide


@dataclass(frozen=True)
class FullPrecision:
    """Moments in the dtype of the master weights, updated by PyTorch's fused AdamW."""

    dtype: torch.dtype

    def zeros(self, numbers: int, *, device: torch.device, pinned: bool = False) -> Moment:
        """Allocate one tensor."""
        return (torch.zeros(numbers, dtype=self.dtype, device=device, pin_memory=pinned),)

    def read(self, moment: Moment, name: str) -> torch.Tensor:  # noqa: ARG002
        """Return the tensor itself."""
        return moment[0]

    def write(self, moment: Moment, name: str, numbers: torch.Tensor) -> None:  # noqa: ARG002
        """Copy the numbers."""
        moment[0].copy_(numbers)

    def update(
        self,
        master: torch.Tensor,
        gradient: torch.Tensor,
        moments: Sequence[Moment],
        step: RowStep,
        *,
        first: int,
    ) -> None:
        """Run the kernel once per ratio of learning rates."""
        common, rows = step.common, (master, gradient, *(moment[0] for moment in moments))
        for ratio, spans in step.groups:
            parts = _within(spans, first, len(master))
            counts = torch.full((len(parts),), common.number - 1.0, device=master.device)
            of_master, of_gradient, of_mean, of_square = ([row[part] for part in parts] for row in rows)
            if parts:
                adamw(
                    of_master,
                    of_gradient,
                    of_mean,
                    of_square,
                    max_exp_avg_sqs=[],
                    state_steps=list(counts.unbind()),
                    fused=True,
                    amsgrad=False,
                    maximize=False,
                    beta1=common.betas[0],
                    beta2=common.betas[1],
                    lr=common.learning_rate * ratio,
                    weight_decay=common.weight_decay,
                    eps=common.epsilon,
                )


@dataclass(frozen=True)
class EightBits:
    """Moments in blockwise dynamic 8-bit codes; `dtype` is that of the numbers read from them."""

    dtype: torch.dtype

    def zeros(self, numbers: int, *, device: torch.device, pinned: bool = False) -> Moment:
        """Allocate codes and scales."""
        return BlockCodes(
            torch.zeros(numbers, dtype=torch.uint8, device=device, pin_memory=pinned),
            torch.zeros(-(-numbers // BLOCK), dtype=torch.float32, device=device, pin_memory=pinned),
        )

    def read(self, moment: Moment, name: str) -> torch.Tensor:
        """Return the numbers that the codes stand for, on the device of the codes."""
        codes, scales = moment
        numbers = codes.new_empty(codes.shape, dtype=self.dtype)
        for part in _chunks(len(codes)):
            held = BlockCodes(codes[part], scales[_blocks(part)])
            numbers[part] = dequantize(held, signed=name == MOMENTS[0], dtype=self.dtype)
        return numbers

    def write(self, moment: Moment, name: str, numbers: torch.Tensor) -> None:
        """Quantise the numbers on the device of the codes."""
        codes, scales = moment
        for part in _chunks(len(codes)):
            made = quantize(numbers[part].to(codes.device), signed=name == MOMENTS[0])
            codes[part], scales[_blocks(part)] = made

    def update(
        self,
        master: torch.Tensor,
        gradient: torch.Tensor,
        moments: Sequence[Moment],
        step: RowStep,
        *,
        first: int,
    ) -> None:
        """Run the kernel for the device."""
        mean, square = (BlockCodes(*moment) for moment in moments)
        kernels = adamw_8bit_for(master.device, master.dtype)
        kernels.update(master, gradient, mean, square, step.common, first=first)


def _within(spans: Spans, first: int, numbers: int) -> list[slice]:
    """Return the parts of n numbers from `first` on that lie in spans, as counted from `first`."""
    cut = [slice(max(s.start - first, 0), min(s.stop - first, numbers)) for s in spans]
    return [part for part in cut if part.start < part.stop]


def _chunks(numbers: int) -> list[slice]:
    return [slice(start, min(start + _CHUNK, numbers)) for start in range(0, numbers, _CHUNK)]


def _blocks(part: slice) -> slice:
    """Return the scales of numbers that begin with a block."""
    return slice(part.start // BLOCK, -(-part.stop // BLOCK))
