"""A raw row under the column names that a format expects, and its values as text."""

import re
from collections.abc import Mapping
from typing import Any

from loratory.objectives.data.learned_columns import is_null
from loratory.objectives.data.rows import BadRowError, RawRow
from loratory.objectives.data.values import as_text, inner_paths

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")
MISSING = object()
"""Stands for the value of a column that a row does not have."""


class Columns:
    """The names of columns that a format expects, mapped to columns of a file or paths into them.

    Attributes:
        names: expected name to column or path, without those that are null.
        unwanted: columns that the study leaves out on purpose.
    """

    def __init__(self, mapping: Mapping[str, str | None]) -> None:
        self.names = {name: column for name, column in mapping.items() if column is not None}
        self.unwanted = frozenset(name for name, column in mapping.items() if column is None)
        self._paths: dict[str, tuple[str | int, ...]] = {}

    def actual(self, column: str) -> str:
        """Return the column or path that holds an expected column."""
        return self.names.get(column, column)

    def find(self, fields: Mapping[str, Any], actual: str) -> Any:
        """Return the value of a column or path, None where it ends early, or `MISSING` without it."""
        if actual in fields:
            return fields[actual]
        path = self._path(actual)
        if len(path) < 2 or path[0] not in fields:
            return MISSING
        value: Any = fields[str(path[0])]
        for step in path[1:]:
            value = _inside(value, step)
            if value is MISSING or value is None:
                return value
        return value

    def top(self, actual: str, fields: Mapping[str, Any]) -> str:
        """Return the column of the file in which a path begins."""
        return actual if actual in fields else str(self._path(actual)[0])

    def _path(self, actual: str) -> tuple[str | int, ...]:
        if actual not in self._paths:
            self._paths[actual] = _steps(actual)
        return self._paths[actual]


def _steps(path: str) -> tuple[str | int, ...]:
    """Return the steps of a path such as `answers.text[0]`; a name that is no path is its own step."""
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            return (path,)
        steps.append(found[1] if found[1] is not None else int(found[2]))
        position = found.end()
    return tuple(steps)


def _inside(value: Any, step: str | int) -> Any:
    """Return what a step finds; None for an index behind the end, since lists differ in length."""
    if isinstance(step, int):
        if not isinstance(value, list):
            return MISSING
        return value[step] if -len(value) <= step < len(value) else None
    return value.get(step, MISSING) if isinstance(value, dict) else MISSING


class View:
    """A raw row under the column names that a format expects."""

    __slots__ = ("_columns", "raw")

    def __init__(self, raw: RawRow, columns: Columns) -> None:
        self.raw = raw
        self._columns = columns

    def has(self, column: str) -> bool:
        """Return whether the row has the column."""
        if column in self._columns.unwanted:
            return False
        return self._columns.find(self.raw.fields, self.actual(column)) is not MISSING

    def is_lost(self, column: str) -> bool:
        """Return whether a column is mapped to a path that leads nowhere inside a column of the row."""
        begins = self._columns.top(self.actual(column), self.raw.fields) in self.raw.fields
        return begins and not self.has(column)

    def actual(self, column: str) -> str:
        """Return the name or path of the column in the file."""
        return self._columns.actual(column)

    def value(self, column: str) -> Any:
        """Return the column's value.

        Raises:
            BadRowError: the row has no such column, or it is null.
        """
        actual = self._columns.names.get(column, column)
        value = self.raw.fields.get(actual)
        if isinstance(value, str):
            return value
        value = self._columns.find(self.raw.fields, actual)
        if value is MISSING:
            raise BadRowError(
                self.raw.place,
                f"must have a column {actual}, has {described(self.raw.fields)}; map names with data.columns",
            )
        if is_null(value):
            raise BadRowError(
                self.raw.place,
                f"{actual} must be text, got null; fill it or remove the row (data.bad_rows: remove)",
            )
        return value

    def optional(self, column: str) -> Any:
        """Return the column's value, or None if it is missing, null or left out on purpose."""
        if column in self._columns.unwanted:
            return None
        value = self._columns.find(self.raw.fields, self.actual(column))
        return None if value is MISSING or is_null(value) else value

    def text(self, column: str) -> str:
        """Return the column's text.

        Raises:
            BadRowError: the value is missing, null, a list or an object.
        """
        value = self.value(column)
        return value if isinstance(value, str) else as_text(value, self.raw.place, self.actual(column))

    def optional_text(self, column: str) -> str:
        """Return the column's text, or "" if it is missing or null."""
        value = self.optional(column)
        return "" if value is None else as_text(value, self.raw.place, self.actual(column))


def described(fields: Mapping[str, Any]) -> str:
    """Return the names of columns for messages, with the paths inside nested ones."""
    names = []
    for name, value in fields.items():
        inside = [] if is_turns(value) else inner_paths(value, name)
        names.append(f"{name} ({', '.join(inside)})" if inside else name)
    return ", ".join(names) or "none"


def is_turns(value: Any) -> bool:
    """Return whether a value is a list of turns, by its first."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ("role" in first or "from" in first)
