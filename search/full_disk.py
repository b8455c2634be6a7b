"""Errors of a full disk, in a line with the remedy."""

import errno
import sqlite3
from pathlib import Path

from loratory.reports.formatting import size
from loratory.search.host_room import disk_free
from loratory.spaces.errors import LoratoryError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_BYTES = 4 * 2**20
"""With less free, any failed write counts as that of a full disk: SQLite does not always say so."""


def full_disk(error: BaseException, folder: Path) -> LoratoryError | None:
    """Return an error that says that the disk is full; None if an error has another cause.

    Args:
        error: a failed write, by the operating system, SQLite, SQLAlchemy or Optuna.
        folder: the study folder.
    """
    free = disk_free(folder)
    if not _says_so(error) and (free is None or free > _FULL_BYTES):
        return None
    found = "" if free is None else f" ({size(free) if free else 'nothing'} is free, too little for the file)"
    return LoratoryError(
        f"{folder}: the disk is full; free some space and run the same command again to go on{found}"
    )


def _says_so(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        if isinstance(cause, sqlite3.Error) and "is full" in str(cause):
            return True
        cause = cause.__cause__
    return False
