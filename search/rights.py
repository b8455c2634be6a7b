"""Missing rights to files, in a line that names the file."""

import errno
import os
import sqlite3
from pathlib import Path

from loratory.spaces.errors import InputError

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def missing_right(error: BaseException) -> InputError | None:
    """Return an error that names the file and the remedy; None if an error has another cause.

    SQLite's own error stands behind those of SQLAlchemy and Optuna, which speak of invalid data.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DENIED and _names_file(cause):
            place = _place(os.fsdecode(cause.filename))
            return InputError(
                f"{place}: must be readable and writable for you: {cause.strerror}; "
                "give yourself the right (chmod, chown), or choose another place"
            )
        if isinstance(cause, sqlite3.OperationalError) and "readonly database" in str(cause):
            return InputError(
                "study.db in the study folder must be writable for you; give yourself the right (chmod)"
            )
        cause = cause.__cause__
    return None


def _names_file(error: OSError) -> bool:
    """Return False for what is no file: a process, a socket, a number of an open file."""
    return isinstance(error.filename, str | bytes | os.PathLike)


def _place(path: str) -> str:
    """Return the file, or its folder where it could not be made: its name may be a temporary one."""
    return path if os.path.lexists(path) else str(Path(path).parent)
