"""Notice of a GPU so full that its allocator empties its cache again and again, which slows passes down."""

import time
from collections.abc import Callable

import torch

_SECONDS = 20.0
_RETRIES_PER_SECOND = 1.0  # a few come with each new shape of a pass


class AllocationPressure:
    """Counts how often allocations succeeded only after the cache was emptied, and tells it once."""

    def __init__(self, retries: Callable[[], int], *, now: Callable[[], float] = time.monotonic) -> None:
        """Start to count.

        Args:
            retries: returns how often it happened so far.
            now: returns the time in seconds.
        """
        self._retries, self._now = retries, now
        self._began, self._before, self._told = now(), retries(), False

    def line(self) -> str | None:
        """Return a line for the terminal once it happens all the time; asked for at every pass."""
        seconds = self._now() - self._began
        if self._told or seconds < _SECONDS:
            return None
        count = self._retries() - self._before
        self._began, self._before = self._began + seconds, self._before + count
        if count < _RETRIES_PER_SECOND * seconds:
            return None
        self._told = True
        return (
            f"memory: the GPU is so full that its cache was emptied {count} times in {seconds:.0f} s, which "
            "slows training down; set packing.tokens_per_pass lower, or free memory of the GPU"
        )


def allocation_retries(device: torch.device) -> int:
    """Return how often PyTorch's allocator has emptied its cache to serve an allocation; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    return int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0))
