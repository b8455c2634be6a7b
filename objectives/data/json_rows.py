"""Rows of JSON files: one object per line, an array, an object around an array, or objects one by one."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from loratory.objectives.data.opening import data_suffix, open_text, readable, undecodable
from loratory.objectives.data.rows import BadRowError
from loratory.objectives.data.wrapped import rows_of
from loratory.spaces.errors import InputError

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Read the rows of a JSON or JSONL file, whichever of the two its name says.

    Args:
        path: path of the file.
        name: its name in messages.

    Yields:
        Number and value of each row; a `BadRowError` in the place of the value where a line cannot be read.

    Raises:
        InputError: the file is one array or object, and no valid JSON.
    """
    # Only \n ends a row: str.splitlines would also cut at U+2028 and U+0085, which JSON allows in text.
    with open_text(path, name, newline="\n") as file:
        before, first = _first_line(file)
        if first.lstrip()[:1] == "[" or isinstance(_parsed(first, name), BadRowError):
            yield from _whole("\n" * before + first + file.read(), name)
            return
        blank, second = _first_line(file)
        if second:
            yield from _lines([*[""] * before, first, *[""] * blank, second], file, name)
        elif first:
            # A single line may be a row, or hold all rows.
            yield from enumerate(rows_of(_parsed(first, name), name), before + 1)


def _first_line(file: IO[str]) -> tuple[int, str]:
    """Return the number of blank lines passed over, and the line after them; "" at the end."""
    blank = 0
    for line in file:
        if line.lstrip("\ufeff").strip():
            return blank, line
        blank += 1
    return blank, ""


def _lines(first: Iterable[str], rest: Iterable[str], name: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(chain(first, rest), 1):
        if line.strip():
            yield number, _parsed(line, f"{name}, row {number}")


def _parsed(line: str, place: str) -> Any:
    """Return the value of a line, or a `BadRowError` that says why it has none."""
    rule = undecodable(line)
    if rule is None:
        try:
            return json.loads(line.removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            rule = _invalid(error)
    return BadRowError(place, rule, {"text": readable(line)})


def _whole(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Read a text that is not one row per line; a broken JSONL file is read by line after all."""
    if undecodable(text) is None and text.lstrip()[:1] == "[":
        yield from _array(text, name)
        return
    try:
        _check_decoded(text, name)
        values = list(_values(text, name))
    except InputError:
        if data_suffix(name) == ".json":
            raise
        yield from _lines((), text.split("\n"), name)
        return
    yield from enumerate(rows_of(values[0], name) if len(values) == 1 else values, 1)


def _check_decoded(text: str, name: str) -> None:
    if undecodable(text) is not None:
        for number, line in enumerate(text.split("\n"), 1):
            rule = undecodable(line)
            if rule is not None:
                raise InputError(f"{name}, line {number}: {rule}")


def _values(text: str, name: str) -> Iterator[Any]:
    """Read values that follow each other, as jq prints them."""
    position = _skip(text, 0)
    while position < len(text):
        value, position = _value(text, position, name)
        yield value
        position = _skip(text, position)


def _array(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Read the elements of an array one by one."""
    lines = data_suffix(name) != ".json"
    number, position = 1, _skip(text, _skip(text, 0) + 1)
    while text[position : position + 1] != "]" or number > 1:
        place = f"{name}, row {number}" if lines else name
        value, position = _value(text, position, place)
        yield number, value
        number += 1
        position = _skip(text, position)
        if text[position : position + 1] != ",":
            break
        position = _skip(text, position + 1)
    _expect_end(text, position, name)


def _expect_end(text: str, position: int, name: str) -> None:
    end = _skip(text, position + 1)
    if text[position : position + 1] != "]":
        error = json.JSONDecodeError("Expecting ',' delimiter", text, position)
    elif end < len(text):
        error = json.JSONDecodeError("Extra data", text, end)
    else:
        return
    raise InputError(f"{name}: {_invalid(error)}")


def _value(text: str, position: int, place: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: {_invalid(error)}") from error


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _invalid(error: ValueError | RecursionError) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return f"must be valid JSON: {error}"
    # Some of the decoder's messages end in "at", for a place to follow.
    return f"must be valid JSON: {error.msg.removesuffix(' at').removesuffix(' starting')} ({_where(error)})"


def _where(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "it ends too early"
    return f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}"
