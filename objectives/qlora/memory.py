"""What the device is called, what runs on it, and how much memory was held."""

import gc
import os
import platform
import re
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")
_PACKAGES = ("loratory", "torch", "transformers", "peft", "bitsandbytes", "numpy", "tokenizers")


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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a trial's numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
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


def host_memory() -> tuple[int, int]:
    """Bytes of main memory that can be had, and that there are, by the machine and by the process's cgroup.

    What the system keeps of files can be had (`MemAvailable` of proc_meminfo(5), `inactive_file` of cgroups).
    """
    pages = [os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")]
    machine = {name: size * 1024 for name, size in _numbers(Path("/proc/meminfo")).items()}
    available, total = machine.get("MemAvailable", pages[0]), machine.get("MemTotal", pages[1])
    limit = _numbers(_CGROUP / "memory.max", "limit").get("limit", total)
    used = _numbers(_CGROUP / "memory.current", "used").get("used", 0)
    kept = _numbers(_CGROUP / "memory.stat").get("inactive_file", 0)
    return max(0, min(available, limit - used + kept)), min(total, limit)


def _numbers(path: Path, name: str = "") -> dict[str, int]:
    """The numbers of a file of the kernel's, by their names or, where a line has none, by `name`."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found = (re.match(r"(?:(\w+):?\s+)?(\d+)", line) for line in lines)
    return {match[1] or name: int(match[2]) for match in found if match}


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
