"""The number of CPU cores that this process may use, which is often not the machine's."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
_SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


def usable_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of cores, at least 1: the smallest of all limits that hold for this process.

    These are its affinity (`taskset`, cpusets), the quotas of its control group and of those above it
    (cgroups(7), both versions), and its share of a Slurm job.

    Args:
        environment: environment variables.
    """
    return max(1, math.floor(min([_affinity(), *_quotas(), *_slurm_share(environment)])))


def _affinity() -> int:
    # os.cpu_count, and Ray with it, counts cores that `taskset` or a scheduler has taken away.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """Yield the cores that each control group with a quota grants."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUP / controllers
        group = root / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield from _quota(folder, first_version=bool(controllers))


def _quota(folder: Path, *, first_version: bool) -> Iterator[float]:
    if first_version:
        words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    else:
        words = _text(folder / "cpu.max").split()
    # "max" and -1 mean no quota.
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])


def _slurm_share(environment: Mapping[str, str]) -> list[int]:
    """Return the cores of this task, or of the job on this node; empty outside Slurm."""
    given = (environment.get(name, "") for name in _SLURM)
    return [int(number) for number in given if number.isdigit() and int(number) > 0][:1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
