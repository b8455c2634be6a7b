"""The moments of a slot's row: on the device, or in host memory and on the device for updates only."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from loratory.objectives.packing.moment_formats import (
    MOMENTS,
    Moment,
    MomentFormat,
    RowStep,
    moment_format,
)

PIECE_NUMBERS = 1 << 24
"""Numbers that come to the device at once where moments are offloaded; a multiple of the formats' block."""


class Moments(Protocol):
    """Both moments of a slot's row by AdamW's names."""

    def rows(self, *, on_cpu: bool) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each name and the moment as a row [P], maybe the tensor that holds it.

        Args:
            on_cpu: take no device memory for it.
        """

    def load(self, name: str, row: torch.Tensor) -> None:
        """Store a moment."""


class MomentStorage:
    """Where and in which format the moments of a pack's slots are kept.

    Attributes:
        plain: whether moments are kept as by PyTorch's AdamW: on the device, in the dtype of master weights.
    """

    def __init__(self, master: torch.Tensor, *, bits: int, offload: bool) -> None:
        """Allocate what offloaded moments need on the device, once for all slots.

        Args:
            master: [K, P], the master weights of all slots.
            bits: 32 or 8; 32 stands for the dtype of the master weights.
            offload: keep moments in host memory, pinned where the device is a GPU.
        """
        self.plain = bits == 32 and not offload
        self._format = moment_format(bits, master.dtype)
        self._numbers, self._device = master.shape[1], master.device
        self._staging = Staging(self._format, self._numbers, self._device) if offload else None

    def new(self) -> "StoredMoments":
        """Allocate the moments of a slot, all zero."""
        return StoredMoments(self._format, self._numbers, self._device, self._staging)


class Staging:
    """Device memory for one piece of offloaded moments, through which the pieces of all slots pass.

    Copies are made on the current stream: it runs one after the other without the host waiting.
    """

    def __init__(self, kept: MomentFormat, numbers: int, device: torch.device) -> None:
        """Allocate room for the largest piece of a row of so many numbers."""
        most = min(PIECE_NUMBERS, numbers)
        self._moments = [kept.zeros(most, device=device) for _ in MOMENTS]

    def load(self, piece: Sequence[Moment]) -> list[Moment]:
        """Copy a piece from the host, and return it on the device."""
        here: list[Moment] = []
        for room, moment in zip(self._moments, piece, strict=True):
            here.append(tuple(tensor[: len(held)] for tensor, held in zip(room, moment, strict=True)))
            _copy(moment, here[-1])
        return here

    @staticmethod
    def store(here: Sequence[Moment], piece: Sequence[Moment]) -> None:
        """Copy a piece back to the host."""
        for moment, held in zip(here, piece, strict=True):
            _copy(moment, held)


class StoredMoments:
    """The moments of one slot."""

    def __init__(
        self, kept: MomentFormat, numbers: int, device: torch.device, staging: Staging | None
    ) -> None:
        """Allocate zeros.

        Args:
            kept: the format.
            numbers: P.
            device: of the pack.
            staging: passes pieces to the device; None where moments are on it.
        """
        self._format, self._staging, self._on_gpu = kept, staging, device.type == "cuda"
        size = PIECE_NUMBERS if staging else max(1, numbers)
        starts = range(0, numbers, size)
        self._parts = [slice(start, min(start + size, numbers)) for start in starts]
        place: dict[str, Any] = {"device": device}
        if staging:
            place = {"device": torch.device("cpu"), "pinned": self._on_gpu}
        self._pieces = [
            [kept.zeros(part.stop - part.start, **place) for _ in MOMENTS] for part in self._parts
        ]
        self._updated: Any = None

    def update(self, master: torch.Tensor, gradient: torch.Tensor, step: RowStep) -> None:
        """Update a row [P] and its moments."""
        for part, piece in zip(self._parts, self._pieces, strict=True):
            here = self._staging.load(piece) if self._staging else piece
            self._format.update(master[part], gradient[part], here, step, first=part.start)
            if self._staging:
                self._staging.store(here, piece)
        if self._staging and self._on_gpu:
            self._updated = self._updated or torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._updated.record()

    def rows(self, *, on_cpu: bool) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each name and row; that of offloaded moments is on the CPU and waits for the last update."""
        self._wait()
        for index, name in enumerate(MOMENTS):
            held = [piece[index] for piece in self._pieces]
            if on_cpu:
                held = [tuple(tensor.to("cpu") for tensor in moment) for moment in held]
            numbers = [self._format.read(moment, name) for moment in held]
            yield name, numbers[0] if len(numbers) == 1 else torch.cat(numbers)

    def load(self, name: str, row: torch.Tensor) -> None:
        """Store a moment, in the format of this one."""
        self._wait()
        for part, piece in zip(self._parts, self._pieces, strict=True):
            self._format.write(piece[MOMENTS.index(name)], name, row[part])

    def _wait(self) -> None:
        """Wait until the last update's moments are in host memory; nothing to wait for on the device."""
        if self._updated is not None:
            self._updated.synchronize()


def _copy(source: Moment, target: Moment) -> None:
    for one, other in zip(source, target, strict=True):
        other.copy_(one, non_blocking=True)
