"""Memory in use on the device by all processes, sampled in a thread of a process that takes none itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from packing_cells.device_memory import used_bytes

_SECONDS = 0.005


class DeviceWatch:
    """Samples the device's memory.

    The context of this process exists before the first reading and is part of it, so that what another
    process takes is the difference to the reading before it began, its own context included.

    Attributes:
        before: bytes in use at the start.
    """

    def __init__(self, device: torch.device) -> None:
        """Read what is in use now.

        Args:
            device: the device; on a CPU every reading is 0.
        """
        if device.type == "cuda":
            torch.zeros(1, device=device)
        self._device, self._peak = device, 0
        self.before = used_bytes(device)

    @property
    def used(self) -> int:
        """Bytes that others have taken since the start."""
        return used_bytes(self._device) - self.before

    @property
    def peak(self) -> int:
        """Most bytes that others had taken at any sample since `reset`."""
        return self._peak

    def rebase(self) -> None:
        """Count what is in use now as there from the start."""
        self.before = used_bytes(self._device)

    def reset(self) -> None:
        """Forget earlier samples."""
        self._peak = self.used

    @contextmanager
    def sampling(self) -> Iterator["DeviceWatch"]:
        """Sample inside a `with` block."""
        over = threading.Event()
        thread = threading.Thread(target=self._sample, args=(over,), daemon=True)
        self.reset()
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def _sample(self, over: threading.Event) -> None:
        while not over.wait(_SECONDS):
            self._peak = max(self._peak, self.used)
