"""Tell the format of rows by their columns, and help where none fits."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from loratory.objectives.data.learned_columns import LEARNED_COLUMNS, plain_name
from loratory.objectives.data.rows import BadRowError
from loratory.objectives.data.values import inner_paths, scalar_text
from loratory.objectives.data.view import View, described, is_turns
from loratory.spaces.data import DataFormat
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

_ANSWER = re.compile("answer|response|output|completion|target|label|summary|chosen", re.IGNORECASE)
_NO_TEXT = frozenset({"id", "idx", "index", "uuid", "source", "group"})


def detect_format(
    view: View, named: DataFormat, *, mapped: Iterable[str] = (), template: bool = False
) -> DataFormat:
    """Return the named format, or for `auto` the first format whose columns the row has.

    Args:
        view: the row.
        named: `data.format`.
        mapped: names that `data.columns` maps. If formats need some of them, only these formats are tried.
        template: whether `data.prompt_template` makes the prompts, so that `completion` alone is enough.

    Raises:
        BadRowError: no format fits.
        InputError: the rows are preferences.
    """
    if named is not DataFormat.AUTO:
        return named
    asked = set(mapped)
    formats = [found for found, needed in NEEDED_COLUMNS.items() if asked.intersection(needed)]
    for found in formats or NEEDED_COLUMNS:
        if all(view.has(column) for column in NEEDED_COLUMNS[found]):
            return found
    if template and view.has("completion"):
        return DataFormat.COMPLETION
    fields = view.raw.fields
    for name in sorted({name for needed in NEEDED_COLUMNS.values() for name in needed}):
        if view.is_lost(name):
            view.value(name)  # refuses the path, with what is there
    if "chosen" in fields:
        raise InputError(_preferences(view.raw.place, fields))
    wanted = "; ".join(f"{name}: {', '.join(needed)}" for name, needed in NEEDED_COLUMNS.items())
    raise BadRowError(
        view.raw.place,
        f"must have the columns of a format ({wanted}), has {described(fields)}; "
        f"map names with data.columns{_suggestion(fields, template=template)}",
    )


def _preferences(place: str, fields: Mapping[str, Any]) -> str:
    """Return the message about preference data."""
    mapping = "completion: chosen" if "prompt" in fields else "messages: chosen"
    return (
        f"{place}: chosen and rejected answers are preferences, which no study is tuned on; "
        f"to learn the chosen ones, set data.columns: {{{mapping}}}"
    )


def _suggestion(fields: Mapping[str, Any], *, template: bool) -> str:
    """Return how `data.columns` could read a row: its turns, else its first two texts."""
    for name, value in fields.items():
        if is_turns(value):
            return f", such as {{messages: {name}}}"
    learned = {name for name in fields if plain_name(name) in LEARNED_COLUMNS}
    texts = [
        path
        for name, value in fields.items()
        if name.lower() not in _NO_TEXT and name not in learned
        for path in _texts(name, value)
    ]
    if len(texts) < 2:
        return ""
    answer = next((path for path in texts[1:] if _ANSWER.search(path)), texts[1])
    if template:
        return f", such as {{completion: {answer}}}"
    # The format alpaca reads a context or a system text too.
    first, last = ("instruction", "output") if learned else ("prompt", "completion")
    return f", such as {{{first}: {texts[0]}, {last}: {answer}}}"


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return []  # turns of another layout, of which one would be read
    return [name] if scalar_text(value) is not None else inner_paths(value, name)
