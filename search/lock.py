"""One driver per study: a lock that the kernel releases when the driver ends for any reason."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.errors import InputError

_PATIENCE_SECONDS = 1.0


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Hold the study's lock.

    Raises:
        InputError: another driver holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with StudyFolder(folder).lock.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(file):
            if time.monotonic() < deadline:
                # `loratory status` may hold the lock for a moment.
                time.sleep(0.05)
                continue
            raise InputError(
                f"{folder}: must have one driver at a time, {_holder(file)} is running this study; "
                "wait for it, or interrupt it there"
            )
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield


def is_running(folder: Path) -> bool:
    """Return whether a driver holds the study's lock now."""
    path = StudyFolder(folder).lock
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            # A shared lock disturbs no other reader, and a driver that starts waits for its release.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.load(file)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError):
        return "another process"
