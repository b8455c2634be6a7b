"""Free main memory of a process, by the machine and by the control groups of the process."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


class _Names(NamedTuple):
    """Names of a control group's files, and of the page cache in `memory.stat`."""

    limit: str
    used: str
    kept: str


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "inactive_file")


def host_memory_free() -> int:
    """Return the bytes available now, page cache included (`MemAvailable` of proc_meminfo(5)).

    The limits of the control group and of all groups above it apply (cgroups(7), both versions).
    """
    kibibytes = _numbers(_PROC / "meminfo").get("MemAvailable")
    if kibibytes is None:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([kibibytes * 1024, *_left_in_groups()]))


def _left_in_groups() -> Iterator[int]:
    """Yield the bytes left below the limit of each group that has one."""
    for folder, names in _groups():
        limit = _numbers(folder / names.limit).get("")
        if limit is not None:
            used = _numbers(folder / names.used).get("", 0)
            yield limit - used + _numbers(folder / "memory.stat").get(names.kept, 0)


def _groups() -> Iterator[tuple[Path, _Names]]:
    """Yield the memory groups of the process and those above; in a container the top may be its own."""
    for line in _lines(_PROC / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root, names = (_CGROUP / controllers, _V1) if controllers else (_CGROUP, _V2)
            group = root / path.strip("/")
            yield from ((folder, names) for folder in (group, *group.parents) if folder.is_relative_to(root))


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers in a file of the kernel, by the names before them."""
    found = (re.match(r"(?:(\w+):?\s+)?(\d+)\b", line) for line in _lines(path))
    return {match[1] or "": int(match[2]) for match in found if match}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
