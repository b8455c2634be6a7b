"""Rows of a file that is a single JSON object: one row, or an object around a list of rows."""

from collections.abc import Sequence
from typing import Any

from loratory.objectives.data.learned_columns import LEARNED_COLUMNS, is_filled, plain_name
from loratory.spaces.errors import InputError

_COLUMNS_OF_A_ROW = frozenset({"messages", "conversations", "instruction", "output", "prompt", "completion"})


def rows_of(value: Any, name: str) -> Sequence[Any]:
    """Return the rows that a single JSON value holds.

    An object around exactly one list of objects (`{"version": "1.0", "data": [...]}`) holds that list's rows;
    any other object is a row itself.

    Raises:
        InputError: the object holds several lists of rows, columns in the place of rows, or beside its rows
            something that changes what is learned.
    """
    if not isinstance(value, dict):
        return [value]
    _check_no_columns(value, name)
    if _is_row(value):
        return [value]
    lists: dict[str, Sequence[Any]] = {key: item for key, item in value.items() if _is_list_of_rows(item)}
    if len(lists) > 1:
        found = ", ".join(f"{key} ({len(rows):,} rows)" for key, rows in lists.items())
        raise InputError(
            f"{name}: must hold one list of rows, holds {found}; write each to a file of its own"
        )
    if not lists:
        return [value]
    ((key, rows),) = lists.items()
    for other, item in value.items():
        if plain_name(other) in LEARNED_COLUMNS and is_filled(item):
            raise InputError(
                f"{name}: {other} stands beside the list {key} and would not be used; write it into each row"
            )
    return rows


def _is_row(value: dict[str, Any]) -> bool:
    """Return whether an object with lists inside is a row: it has a column that rows have, or turns."""
    return bool(_COLUMNS_OF_A_ROW & value.keys()) or any(_is_turns(item) for item in value.values())


def _is_turns(item: Any) -> bool:
    return _is_list_of_rows(item) and bool({"role", "from"} & item[0].keys())


def _is_list_of_rows(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and isinstance(item[0], dict)


def _check_no_columns(value: dict[str, Any], name: str) -> None:
    """Refuse what `DataFrame.to_json` writes unless it is told otherwise: an object per column."""
    columns = list(value.values())
    if len(columns) > 1 and (_are_alike(columns, dict) or _are_alike(columns, list)):
        raise InputError(
            f"{name}: must hold rows, holds columns ({', '.join(value)}); "
            "write rows: df.to_json(path, orient='records', lines=True)"
        )


def _are_alike(columns: list[Any], kind: type) -> bool:
    """Return whether all are columns: of one kind and length, and no lists of objects, which may be turns."""
    return (
        all(isinstance(column, kind) and column and not _is_list_of_rows(column) for column in columns)
        and len({len(column) for column in columns}) == 1
        and (kind is list or len({tuple(column) for column in columns}) == 1)
    )
