"""Values of a row as text, lists and marks."""

import ast
import json
import math
from contextlib import suppress
from decimal import Decimal
from typing import Any

from loratory.objectives.data.rows import BadRowError
from loratory.spaces.errors import InputError


def scalar_text(value: Any) -> str | None:
    """Return text, a number or a boolean as text, as JSON writes it; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return None


def as_text(value: Any, row_place: str, place: str) -> str:
    """Return a value that must be text, a number or a boolean, as text.

    Args:
        value: a value of the row.
        row_place: file and number of the row, for the message.
        place: name of the value in the row, for the message.

    Raises:
        BadRowError: the value is of another type.
    """
    text = scalar_text(value)
    if text is None:
        inside = inner_paths(value, place)
        hint = f"; data.columns may name what is inside: {', '.join(inside)}" if inside else ""
        raise BadRowError(
            row_place, f"{place} must be text, got {type(value).__name__} {shortened(value)}{hint}"
        )
    return text


def from_json(value: Any) -> Any:
    """Return the list or object that JSON text holds, as in a column of a CSV; else the value as it is.

    The text may be Python's too, which pandas writes for lists in a CSV.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    with suppress(ValueError, RecursionError):
        return json.loads(value)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(value.strip())
    return value


def read_mark(value: Any, place: str) -> bool:
    """Return whether a mark says that something is learned.

    Args:
        value: true, false, 1 or 0, also as text.
        place: row and name of the mark, for the message.

    Raises:
        InputError: the mark is another number or another text, which cannot be honoured.
    """
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    name = place.rpartition(" ")[2].rpartition(".")[2]
    raise InputError(
        f"{place} must be 0 or 1 (false or true: whether it is learned), got {shortened(value)}; "
        f"change it, or leave it out with data.columns: {{{name}: null}}"
    )


def inner_paths(value: Any, place: str) -> list[str]:
    """Return the paths of the scalars inside a nested value, at most six, such as `answers.text[0]`."""
    if isinstance(value, dict):
        items = [(f"{place}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{place}[0]", value[0])]
    else:
        return []
    found: list[str] = []
    for path, item in items:
        found += [path] if scalar_text(item) is not None else inner_paths(item, path)
    return found[:6]


def shortened(value: Any) -> str:
    """Return a value as messages show it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
