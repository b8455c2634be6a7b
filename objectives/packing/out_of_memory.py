"""Errors of a device: out of memory, and lost for good."""

import torch

# Said in a plain RuntimeError by the CPU's allocator, and by CUDA's libraries for a handle or workspace.
_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that the device or the host has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class NothingLeftError(RuntimeError):
    """Memory ended while something was made anew whose predecessor is gone: the worker must be replaced."""


def device_is_lost(error: BaseException) -> bool:
    """Return whether all further work will fail too, so that the worker must be replaced."""
    lost = isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
    return lost or isinstance(error, NothingLeftError)
