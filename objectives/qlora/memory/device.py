"""What the device is called, what runs on it, and how much memory was held."""

import gc
import platform
import resource
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("loratory", "torch", "transformers", "peft", "numpy", "tokenizers")


def device_name(device: torch.device) -> str:
    """The GPU's name as its driver gives it, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "CPU")


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return versions of Python and of the packages that decide a trial's numbers.

    Args:
        packages: those that the base's format adds.
    """
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held: on a GPU by tensors since the worker was ready, on a CPU by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
