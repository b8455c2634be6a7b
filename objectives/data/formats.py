"""Parse raw rows into prompts and answers: alpaca, chat messages, ShareGPT and prompt/completion."""

import difflib
from collections.abc import Callable, Sequence
from types import MappingProxyType

from loratory.objectives.data.conversations import Dialogue, read_conversation
from loratory.objectives.data.prompt_template import fill_template
from loratory.objectives.data.rows import RawRow, Role, Row, Turn
from loratory.objectives.data.view import View, shortened
from loratory.spaces.data import DataFormat, DataSpec
from loratory.spaces.errors import InputError

NEEDED_COLUMNS = MappingProxyType(
    {
        DataFormat.MESSAGES: ("messages",),
        DataFormat.SHAREGPT: ("conversations",),
        DataFormat.ALPACA: ("instruction", "output"),
        DataFormat.COMPLETION: ("prompt", "completion"),
    }
)
"""Columns that each format must have, in the order in which formats are tried."""

_RENAMEABLE = (
    "messages",
    "conversations",
    "system",
    "instruction",
    "input",
    "output",
    "prompt",
    "completion",
)


def parse_rows(rows: Sequence[RawRow], data: DataSpec) -> tuple[list[Row], DataFormat]:
    """Parse the rows of one source.

    Args:
        rows: at least one raw row.
        data: format, renames, group column and prompt template.

    Returns:
        The parsed rows in order, and their format.

    Raises:
        InputError: a row lacks a column that the format needs, or a value is of the wrong type.
    """
    _check_renames(data.columns)
    found = detect_format(View(rows[0], data.columns), data.format)
    read = _READERS[found]
    parsed = []
    for raw in rows:
        view = View(raw, data.columns)
        turns, answer = read(view)
        if data.prompt_template is not None:
            text = fill_template(data.prompt_template, view, answer=NEEDED_COLUMNS[found][-1])
            turns = (Turn(Role.PROMPT, text),)
        parsed.append(Row(raw=raw, turns=turns, answer=answer, group=_group(raw, data)))
    return parsed, found


def detect_format(view: View, named: DataFormat) -> DataFormat:
    """Return the named format, or for `auto` the first format whose columns the row has.

    Raises:
        InputError: no format fits.
    """
    if named is not DataFormat.AUTO:
        return named
    for found, needed in NEEDED_COLUMNS.items():
        if all(view.has(column) for column in needed):
            return found
    wanted = "; ".join(f"{name}: {', '.join(needed)}" for name, needed in NEEDED_COLUMNS.items())
    raise InputError(
        f"{view.raw.place}: must have the columns of a format ({wanted}), "
        f"has {', '.join(view.raw.fields) or 'none'}; map names with data.columns"
    )


def _alpaca(view: View) -> Dialogue:
    turns = (
        Turn(Role.SYSTEM, view.optional_text("system").strip()),
        Turn(Role.USER, view.text("instruction").strip()),
        Turn(Role.INPUT, view.optional_text("input").strip()),
    )
    return tuple(turn for turn in turns if turn.text), view.text("output").strip()


def _completion(view: View) -> Dialogue:
    # The space before an answer is part of it, since it decides how the first word is tokenised.
    return (Turn(Role.PROMPT, view.text("prompt")),), view.text("completion").rstrip()


def _messages(view: View) -> Dialogue:
    return read_conversation(view, "messages")


def _sharegpt(view: View) -> Dialogue:
    return read_conversation(view, "conversations")


def _group(raw: RawRow, data: DataSpec) -> str | None:
    column = data.group_column
    if column is None:
        return None
    if column not in raw.fields:
        if column == DataSpec.model_fields["group_column"].default:
            return None
        raise InputError(
            f"{raw.place}: must have the column {column} that data.group_column names, "
            f"has {', '.join(raw.fields) or 'none'}"
        )
    value = raw.fields[column]
    if value is not None and not isinstance(value, (str, int)):
        raise InputError(f"{raw.place}: {column} must be text, got {type(value).__name__} {shortened(value)}")
    return None if value in (None, "") else str(value)


def _check_renames(columns: dict[str, str]) -> None:
    for name in columns:
        if name not in _RENAMEABLE:
            close = difflib.get_close_matches(name, _RENAMEABLE, n=1)
            hint = f": did you mean {close[0]}?" if close else f"; known are {', '.join(_RENAMEABLE)}"
            raise InputError(f"data.columns: no format expects a column {name}{hint}")


_READERS: dict[DataFormat, Callable[[View], Dialogue]] = {
    DataFormat.ALPACA: _alpaca,
    DataFormat.COMPLETION: _completion,
    DataFormat.MESSAGES: _messages,
    DataFormat.SHAREGPT: _sharegpt,
}
