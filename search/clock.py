"""The working time of a study over all its runs, so that its time limit survives a restart."""

import json
import time
from pathlib import Path

from loratory.objectives.atomic_files import write_atomically

_SAVE_EVERY_SECONDS = 3.0


class StudyClock:
    """Counts the seconds in which a driver runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._earlier = read_active_seconds(path)
        self._started = self._saved = time.monotonic()

    @property
    def active_seconds(self) -> float:
        """Seconds of this run and all earlier runs."""
        now = time.monotonic()
        if now - self._saved > _SAVE_EVERY_SECONDS:
            self._saved = now
            self.save()
        return self._earlier + now - self._started

    def save(self) -> None:
        """Write the count to disk."""
        seconds = self._earlier + time.monotonic() - self._started
        write_atomically(self._path, json.dumps({"active_seconds": round(seconds, 1)}).encode())


def read_active_seconds(path: Path) -> float:
    """Read the seconds that a study has worked; 0 if it has no clock file."""
    try:
        return float(json.loads(path.read_bytes())["active_seconds"])
    except (OSError, ValueError, KeyError):
        return 0.0
