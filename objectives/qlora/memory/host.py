"""How much main memory a process may take: by the machine, and by the control groups that it is in."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


class _Names(NamedTuple):
    """Files of a control group, and what `memory.stat` calls memory that files are kept in."""

    limit: str
    used: str
    kept: str


_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Names("memory.max", "memory.current", "inactive_file")


def host_memory_free() -> int:
    """Bytes that can be had now; what the system keeps of files can be (`MemAvailable` of proc_meminfo(5)).

    A control group (cgroups(7), both versions) has what its limit leaves, and so have those that it is in.
    """
    kibibytes = _numbers(_PROC / "meminfo").get("MemAvailable")
    if kibibytes is None:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([kibibytes * 1024, *_left_in_groups()]))


def _left_in_groups() -> Iterator[int]:
    """What each group leaves that has a limit."""
    for folder, names in _groups():
        limit = _numbers(folder / names.limit).get("")
        if limit is not None:
            used = _numbers(folder / names.used).get("", 0)
            yield limit - used + _numbers(folder / "memory.stat").get(names.kept, 0)


def _groups() -> Iterator[tuple[Path, _Names]]:
    """The process's groups for memory and those above them; in a container the topmost may be its own."""
    for line in _lines(_PROC / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root, names = (_CGROUP / controllers, _V1) if controllers else (_CGROUP, _V2)
            group = root / path.strip("/")
            yield from ((folder, names) for folder in (group, *group.parents) if folder.is_relative_to(root))


def _numbers(path: Path) -> dict[str, int]:
    """The numbers of one of the kernel's files, by the names before them."""
    found = (re.match(r"(?:(\w+):?\s+)?(\d+)\b", line) for line in _lines(path))
    return {match[1] or "": int(match[2]) for match in found if match}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
