"""Memory of a measurement: of tensors, and of the device as a whole."""

import os
import resource
from pathlib import Path

import torch

from loratory.objectives.qlora.memory.device import release_memory


def synchronize(device: torch.device) -> None:
    """Wait for the device to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def used_bytes(device: torch.device) -> int:
    """Return the bytes in use on the device by all processes; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def start_peak(device: torch.device) -> None:
    """Start measuring the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: peak := resident now
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Return the peak of tensors' bytes since `start_peak`; on a CPU the peak of resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def context_bytes(device: torch.device) -> int:
    """Return the bytes that a process takes on the device before its first tensor; 0 on a CPU.

    Call it while no other process uses the device, and before this one holds tensors.
    """
    if device.type != "cuda":
        return 0
    torch.zeros(1, device=device)
    release_memory(device)
    return used_bytes(device) - torch.cuda.memory_reserved(device)


class DeviceMemory:
    """The device's memory during one measurement in this process.

    The allocator keeps what it once reserved, so that the end shows the peak.
    """

    def __init__(self, device: torch.device, *, context_bytes: int) -> None:
        """Start measuring; what is on the device now (an idle process, say) does not count.

        Args:
            device: the device.
            context_bytes: what `context_bytes` gave; counted once, since a process always has one.
        """
        release_memory(device)
        self._device, self._context, self._before = device, context_bytes, used_bytes(device)
        start_peak(device)

    def device_bytes(self) -> int:
        """Return the bytes taken since the start; on a CPU the peak of this process."""
        if self._device.type != "cuda":
            return peak_bytes(self._device)
        return used_bytes(self._device) - self._before + self._context


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
