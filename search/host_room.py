"""Room on the driver's machine for one more trial: disk and main memory."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives.qlora.memory.host import host_memory_free
from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.formatting import size

_LATEST = 5


def disk_free(path: Path) -> int | None:
    """Return the bytes of a file system that its users may still fill (statvfs(3), `f_bavail`).

    None where the file system has no size, as some that lie in a bucket or on a server.
    """
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize if state.f_blocks else None


@dataclass(frozen=True)
class Shortage:
    """Disk or main memory that one more trial lacks.

    Attributes:
        needed_bytes: what it needs.
        free_bytes: what is free.
        what: `disk` or `main memory`.
    """

    needed_bytes: int
    free_bytes: int
    what: str

    def __str__(self) -> str:
        """Return needed and free bytes in words."""
        free = size(self.free_bytes) if self.free_bytes else "nothing"
        return f"one more trial may need {size(self.needed_bytes)} of {self.what}, {free} is free"


class HostRoom:
    """Compares what is free on the driver's machine with what trials take, as those before have shown.

    A trial holds a checkpoint while it runs, then its files: adapter, scores, predictions, curve. One trial
    at a time needs both, and a second checkpoint, since the new file is complete before the old one goes.

    Args:
        folder: the study folder.
        least_bytes: returns the size that a trial's checkpoint has at least, asked until one was seen.
        disk: returns the free bytes of the file system of a path; None: unknown, and taken for enough.
        memory: returns the free bytes of main memory.
    """

    def __init__(
        self,
        folder: StudyFolder,
        *,
        least_bytes: Callable[[], int] = lambda: 0,
        disk: Callable[[Path], int | None] = disk_free,
        memory: Callable[[], int] = host_memory_free,
    ) -> None:
        self._folder, self._disk, self._memory = folder, disk, memory
        self._least_bytes = least_bytes
        self._checkpoint_bytes, self._files_bytes = 0, 0
        complete = [record for record in folder.read_records() if record.state is TrialState.COMPLETE]
        for record in complete[-_LATEST:]:
            self.saw_files(record.key)
        for path in folder.path.glob("trials/**/checkpoint-*.bin"):
            self.saw_checkpoint(path.stat().st_size)

    def saw_checkpoint(self, count: int) -> None:
        """Note the size of a checkpoint, in bytes."""
        self._checkpoint_bytes = max(self._checkpoint_bytes, count)

    def saw_files(self, key: str) -> None:
        """Note the size of a finished trial's files."""
        self._files_bytes = max(self._files_bytes, self._held_by(key))

    def shortage(self, running: Collection[str]) -> Shortage | None:
        """Return what is missing for one more trial; None if there is room.

        Args:
            running: keys of the trials that run; they need room too until they are over.
        """
        checkpoint = self._checkpoint_bytes or self._least_bytes()
        each = max(checkpoint, self._files_bytes)
        held = sum(min(each, self._held_by(key)) for key in running)
        on_disk = (len(running) + 1) * each - held + checkpoint + self._files_bytes
        free = self._disk(self._folder.path)
        if free is not None and on_disk > free:
            return Shortage(on_disk, free, "disk")
        in_memory, free = checkpoint + self._files_bytes, self._memory()
        return Shortage(in_memory, free, "main memory") if in_memory > free else None

    def _held_by(self, key: str) -> int:
        return sum(
            _bytes_of(Path(folder, name))
            for folder, _, names in os.walk(self._folder.trial(key))
            for name in names
        )


def _bytes_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # a tracker's thread has renamed its temporary file
