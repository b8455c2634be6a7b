"""The token of a Ray cluster: where it is found, and how Ray is told to use it."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from loratory.spaces.errors import InputError

_raylet: Any = import_module("ray._raylet")

_MODE, _TEXT, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@dataclass(frozen=True)
class Token:
    """A token, never shown.

    Attributes:
        text: the token.
        source: the variable or file that it comes from.
    """

    text: str = field(repr=False)
    source: str


def find_token() -> Token | None:
    """Return the token that Ray would use: of RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.

    Raises:
        InputError: RAY_AUTH_TOKEN_PATH names no file with a token. Ray itself would abort the process.
    """
    if text := os.environ.get(_TEXT):
        return Token(text.strip(), _TEXT)
    if named := os.environ.get(_PATH):
        text = _read(Path(named))
        if not text:
            raise InputError(
                f"{_PATH}: must name a file with the cluster's token, {named} cannot be read or is empty"
            )
        return Token(text, f"{named} ({_PATH})")
    file = _home_file()
    text = _read(file) if file is not None else ""
    return Token(text, str(file)) if text else None


def token_sources() -> str:
    """Return the places of a token, for a message."""
    return f"{_TEXT}, {_PATH} and ~/.ray/auth_token"


def set_token_mode(*, needed: bool) -> Callable[[], None]:
    """Have Ray in this process use tokens, or none; nodes that use none refuse a driver that does.

    Returns:
        A function that restores the mode of before.
    """
    before = os.environ.get(_MODE)
    _set_mode("token" if needed else "disabled" if before is not None else None)
    return lambda: _set_mode(before)


def make_token() -> None:
    """Make the token of a cluster that starts on this machine, where there is none.

    Ray would write it readable for all users, and fail where the home folder cannot be written to. Then it is
    in the environment of this process, and of those that it starts.
    """
    if os.environ.get(_MODE, "token").lower() != "token" or find_token() is not None:
        return
    token = secrets.token_hex(32)
    try:
        file = _home_file()
        if file is None:
            raise FileNotFoundError("HOME is not set")
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(token)
    except OSError:
        os.environ[_TEXT] = token
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


def _set_mode(mode: str | None) -> None:
    if mode is None:
        os.environ.pop(_MODE, None)
    else:
        os.environ[_MODE] = mode
    # Ray reads both once and keeps them.
    _raylet.Config.initialize("")
    _raylet.AuthenticationTokenLoader.instance().reset_cache()


def _home_file() -> Path | None:
    home = os.environ.get("HOME")
    return Path(home) / ".ray" / "auth_token" if home else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
