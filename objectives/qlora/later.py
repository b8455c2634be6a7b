"""Numbers that a device has not computed yet."""

from typing import Any

import torch


class Later:
    """A copy of a tensor on its way to the CPU; reading it waits for it, not for what was launched since."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Start the copy.

        Args:
            tensor: of any device.
        """
        self._event: Any = None
        if tensor.device.type == "cuda":
            self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._copy.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._copy = tensor

    def values(self) -> Any:
        """The numbers, as nested lists."""
        if self._event is not None:
            self._event.synchronize()
        return self._copy.tolist()
