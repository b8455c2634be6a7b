"""Which columns of a source are read, which are not, and which of these stop the study."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from loratory.objectives.data.learned_columns import (
    EXPECTED_NAMES,
    LEARNED_COLUMNS,
    MARKS,
    PREFERENCE_MARKS,
    is_filled,
    is_null,
    plain_name,
)
from loratory.objectives.data.rows import RawRow
from loratory.objectives.data.values import read_mark
from loratory.objectives.data.view import Columns
from loratory.spaces.errors import InputError


@dataclass(frozen=True, slots=True)
class _Checked:
    """The columns of rows of one layout that must be looked at: they are not read by the format."""

    learned: tuple[str, ...]
    marks: tuple[str, ...]
    preferences: tuple[str, ...]


class RowColumns:
    """Watches the columns of the rows of a source.

    Args:
        columns: the study's names of columns.
        read: columns and paths that the format, the template and the study read.
        learned: columns that stop the study where they are not read.
    """

    def __init__(
        self, columns: Columns, read: Iterable[str], learned: frozenset[str] = LEARNED_COLUMNS
    ) -> None:
        self._columns, self._read, self._learned = columns, tuple(read), learned
        self._layouts: dict[tuple[str, ...], _Checked] = {}
        self.used: dict[str, None] = {}
        self.unused: dict[str, None] = {}

    def learns(self, raw: RawRow) -> bool:
        """Return whether the row's marks let it be learned.

        Raises:
            InputError: a column changes what is learned and is not read, or a mark cannot be honoured.
        """
        layout = tuple(raw.fields)
        checked = self._layouts.get(layout)
        if checked is None:
            checked = self._layouts[layout] = self._look(raw.fields)
        for column in checked.learned:
            if is_filled(raw.fields[column]):
                raise InputError(_unread(raw.place, column, self._read))
        for column in checked.preferences:
            if _is_false(raw.fields[column]):
                raise InputError(
                    f"{raw.place}: {column} false marks an answer that is not wanted (preference data), "
                    f"and every answer is learned; remove such rows, or set data.columns: {{{column}: null}}"
                )
        return all(
            is_null(raw.fields[column]) or read_mark(raw.fields[column], f"{raw.place}: {column}")
            for column in checked.marks
        )

    def _look(self, fields: dict[str, Any]) -> _Checked:
        read = {self._columns.top(column, fields) for column in self._read}
        others = [column for column in fields if column not in read]
        wanted = [column for column in others if column not in self._columns.unwanted]
        marks = [column for column in wanted if plain_name(column) in MARKS]
        self.used |= dict.fromkeys(column for column in fields if column in read or column in marks)
        self.unused |= dict.fromkeys(column for column in others if column not in marks)
        return _Checked(
            tuple(column for column in wanted if plain_name(column) in self._learned),
            tuple(marks),
            tuple(column for column in wanted if plain_name(column) in PREFERENCE_MARKS),
        )


def _is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")


def _unread(place: str, column: str, read: Collection[str]) -> str:
    name = EXPECTED_NAMES.get(plain_name(column))
    remedy = (
        f"name it with data.columns: {{{name}: {column}}}"
        if name in read
        else "use a format that does, name it in data.prompt_template"
    )
    return (
        f"{place}: the column {column} changes what is learned, and this format does not read it: "
        f"{remedy}, or leave it out with data.columns: {{{column}: null}}"
    )
