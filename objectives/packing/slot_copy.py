"""What a slot holds of a trial, and a copy of it on its way from the device."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from loratory.objectives.packing.stack import AdapterState, named


@dataclass(frozen=True, kw_only=True)
class SlotState:
    """What a slot holds of a trial, on the CPU and by the adapter's own names.

    Attributes:
        matrices: of the adapter.
        moments: AdamW's `exp_avg`, `exp_avg_sq` (like the matrices) and `step`; empty before the first step.
        scaler: state of the loss scale (fp16).
    """

    matrices: AdapterState
    moments: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


class SlotCopy:
    """A copy of a slot's state that nobody changes any more."""

    def __init__(
        self,
        *,
        matrices: torch.Tensor,
        moments: Mapping[str, torch.Tensor],
        scaler: dict[str, Any],
        like: AdapterState,
    ) -> None:
        """Note from when on the copy is there.

        Args:
            matrices: [n], end to end, on any device.
            moments: each [n] like the matrices, or a number [].
            scaler: state of the loss scale.
            like: names and shapes.
        """
        self._matrices, self._moments, self._scaler, self._like = matrices, moments, scaler, like
        self._made: Any = None
        if matrices.device.type == "cuda":
            self._made = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._made.record()

    @property
    def nbytes(self) -> int:
        """What it takes on its device."""
        return sum(value.nbytes for value in (self._matrices, *self._moments.values()))

    def fetch(self) -> SlotState:
        """The state on the CPU. In a thread of its own it waits for the copy and for nothing after it."""
        with self._beside():
            moments = {name: self._on_cpu(value) for name, value in self._moments.items()}
            return SlotState(matrices=self._on_cpu(self._matrices), moments=moments, scaler=self._scaler)

    def _on_cpu(self, value: torch.Tensor) -> Any:
        value = value.to("cpu")
        return named(value, self._like) if value.ndim else value

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """Let other work of the device go on meanwhile."""
        if self._made is None:
            yield
            return
        stream = _stream(self._matrices.device)
        stream.wait_event(self._made)
        with torch.cuda.stream(stream):
            yield


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all copies.

    PyTorch deals out 32 streams of each priority again and again. Graphs are captured on one of priority 0,
    which a copy must not come upon.
    """
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
