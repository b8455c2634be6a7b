"""The state of a trial in its slot, and a copy of it that is fetched from the device later."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from loratory.objectives.packing.stack import AdapterState, named


@dataclass(frozen=True, kw_only=True)
class SlotState:
    """The state of a trial in its slot, on the CPU and under the adapter's own names.

    Attributes:
        matrices: the adapter.
        moments: AdamW's `exp_avg` and `exp_avg_sq` (like the matrices) and `step`; empty before the first
            step.
        scaler: state of the loss scale (fp16).
    """

    matrices: AdapterState
    moments: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


class SlotCopy:
    """A copy of a slot's state on its device, which later updates do not change."""

    def __init__(
        self,
        *,
        matrices: torch.Tensor,
        moments: Mapping[str, torch.Tensor],
        scaler: dict[str, Any],
        like: AdapterState,
    ) -> None:
        """Record an event after which the copy is complete.

        Args:
            matrices: [n], end to end, on any device.
            moments: each [n] like the matrices, or a scalar []; on the same device or on the CPU.
            scaler: state of the loss scale.
            like: an adapter of the same names and shapes.
        """
        self._matrices, self._moments, self._scaler, self._like = matrices, moments, scaler, like
        self._made: Any = None
        if matrices.device.type == "cuda":
            self._made = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._made.record()

    @property
    def nbytes(self) -> int:
        """Bytes of the copy on the device of the matrices."""
        values, device = (self._matrices, *self._moments.values()), self._matrices.device
        return sum(value.nbytes for value in values if value.device == device)

    def fetch(self) -> SlotState:
        """Return the state on the CPU. This waits for the copy, but not for later work of the device."""
        with self._beside():
            moments = {name: self._on_cpu(value) for name, value in self._moments.items()}
            return SlotState(matrices=self._on_cpu(self._matrices), moments=moments, scaler=self._scaler)

    def _on_cpu(self, value: torch.Tensor) -> Any:
        """Return matrices on the CPU by name, or a scalar."""
        value = value.to("cpu")
        return named(value, self._like) if value.ndim else value

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """Run the block's work on a stream of its own, after the copy is complete."""
        if self._made is None:
            yield
            return
        stream = _stream(self._matrices.device)
        stream.wait_event(self._made)
        with torch.cuda.stream(stream):
            yield


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all copies.

    PyTorch hands out 32 streams per priority in turn. Graphs are captured on a stream of priority 0, which
    must not be that of a copy.
    """
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]
