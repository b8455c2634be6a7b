"""Settings with which Ray starts on this machine: cores, a token, and a folder with a short path."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.search.executors.cores import usable_cores
from loratory.search.executors.ray_token import make_token
from loratory.spaces.errors import InputError

# Ray's sockets lie at FOLDER/session_DATE_TIME_MICROSECONDS_PID/sockets/NAME, 107 bytes at most (unix(7)).
_LONGEST_SOCKET = "session_2026-11-28_02-15-41_123456_1234567/sockets/plasma_store.12"
_MOST_BYTES = 107
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True)
class OwnRay:
    """Options of `ray.init` for Ray on this machine.

    Attributes:
        options: the options.
        folder: a folder made for this Ray alone; None where Ray's default will do.
    """

    options: dict[str, Any]
    folder: Path | None

    def clean_up(self) -> None:
        """Remove the folder, when Ray has ended."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def prepare_own_ray() -> OwnRay:
    """Return the options with which Ray starts here, and make what it would fail without.

    Raises:
        InputError: no folder can be written to.
    """
    make_token()
    folder = None if _is_fit(_default_parent()) else _short_folder()
    # Loopback: nobody else is let in.
    options: dict[str, Any] = {
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "num_cpus": usable_cores(),
    }
    if folder is not None:
        options["_temp_dir"] = str(folder)
    return OwnRay(options, folder)


def _default_parent() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")


def _is_fit(parent: Path) -> bool:
    """Return whether Ray can make its folder `ray` there, with sockets in it."""
    folder = parent / "ray"
    if len(os.fsencode(folder / _LONGEST_SOCKET)) > _MOST_BYTES:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            return True
    except OSError:
        return False


def _short_folder() -> Path:
    """Make a folder that only this user can enter."""
    for parent in _candidates():
        with contextlib.suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="ray-", dir=parent))
    raise InputError(
        f"Ray needs a folder for its sockets: none of {', '.join(_OTHERS)} can be written to; set RAY_TMPDIR "
        f"to a folder whose path has at most {_MOST_BYTES - len(_LONGEST_SOCKET) - len('/ray/')} bytes"
    )


def _candidates() -> Iterator[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield from (*_OTHERS, *([runtime] if runtime else []))
