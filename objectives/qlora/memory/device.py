"""Name of the device, package versions, and peak memory."""

import gc
import platform
import resource
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("loratory", "torch", "transformers", "peft", "numpy", "tokenizers")


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, as its driver gives it, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "CPU")


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return versions of Python and of the packages that influence results.

    Args:
        packages: further packages, of the base's format.
    """
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_memory_bytes(device: torch.device) -> int:
    """Return peak memory: on a GPU of tensors since the worker was ready, on a CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_memory(device: torch.device) -> None:
    """Free memory of tensors that are no longer referenced, and the allocator's cache."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
