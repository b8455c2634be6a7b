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
        """Whether the row has the column."""
        return self.columns.get(column, column) in self.raw.fields

    def value(self, column: str) -> Any:
        """The column's value.

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
        """The column's text.

        Raises:
            InputError: it is missing, null or no string.
        """
        return as_text(self.value(column), self.raw, self.columns.get(column, column))

    def optional_text(self, column: str) -> str:
        """The column's text, or "" where it is missing or null."""
        missing = self.raw.fields.get(self.columns.get(column, column)) is None
        return "" if missing else self.text(column)


def as_text(value: Any, raw: RawRow, place: str) -> str:
    """The value, which must be text.

    Args:
        value: what a row holds.
        raw: the row, for the message.
        place: where in the row.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str):
        raise InputError(f"{raw.place}: {place} must be text, got {type(value).__name__} {shortened(value)}")
    return value


def shortened(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
