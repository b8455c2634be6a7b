"""A raw row under the column names that a format expects, and its values as text."""

from dataclasses import dataclass
from typing import Any

from loratory.objectives.data.rows import RawRow
from loratory.spaces.errors import InputError


@dataclass(frozen=True)
class View:
    """A raw row under the column names that a format expects."""

    raw: RawRow
    columns: dict[str, str]

    def has(self, column: str) -> bool:
        """Return whether the row has the column."""
        return self.columns.get(column, column) in self.raw.fields

    def value(self, column: str) -> Any:
        """Return the column's value.

        Raises:
            InputError: the row has no such column, or it is null.
        """
        actual = self.columns.get(column, column)
        if actual not in self.raw.fields:
            raise InputError(
                f"{self.raw.place}: must have a column {actual}, has {', '.join(self.raw.fields) or 'none'}; "
                "map names with data.columns"
            )
        if self.raw.fields[actual] is None:
            raise InputError(f"{self.raw.place}: {actual} must be text, got null; fill it or remove the row")
        return self.raw.fields[actual]

    def text(self, column: str) -> str:
        """Return the column's text.

        Raises:
            InputError: the value is missing, null or no string.
        """
        return as_text(self.value(column), self.raw, self.columns.get(column, column))

    def optional_text(self, column: str) -> str:
        """Return the column's text, or "" if it is missing or null."""
        missing = self.raw.fields.get(self.columns.get(column, column)) is None
        return "" if missing else self.text(column)


def as_text(value: Any, raw: RawRow, place: str) -> str:
    """Return a value that must be text.

    Args:
        value: a value of the row.
        raw: the row, for the message.
        place: name of the value in the row, for the message.

    Raises:
        InputError: the value is not text.
    """
    if not isinstance(value, str):
        raise InputError(f"{raw.place}: {place} must be text, got {type(value).__name__} {shortened(value)}")
    return value


def shortened(value: Any) -> str:
    """Return a value as messages show it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
