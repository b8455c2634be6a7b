"""Results of tools, and the calls that they belong to."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loratory.objectives.data.calls import CALL_KEYS, call_ids
from loratory.objectives.data.learned_columns import is_filled, is_null
from loratory.objectives.data.rows import Role, Turn

RESULT_KEYS = ("tool_call_id", "name")
"""Keys of a result that name its call: by the call's id, or by its function."""


def with_answered(turns: Sequence[Turn], items: Sequence[Any]) -> list[Turn]:
    """Return turns in which each result that is not the next call's says whose it is."""
    found: list[Turn] = []
    ids: list[str | None] = []
    names: list[str] = []
    due = 0
    for turn, item in zip(turns, items, strict=True):
        if turn.calls:
            ids, names, due = _ids(item), [call["name"] for call in json.loads(turn.calls)], 0
        elif turn.role is Role.TOOL:
            place = _place(item, ids, names)
            turn = turn if place is None or place == due else replace(turn, answers=place)
            due = (due if place is None else place) + 1
        found.append(turn)
    return found


def _ids(item: dict[str, Any]) -> list[str | None]:
    return next((call_ids(item[key]) for key in CALL_KEYS if is_filled(item.get(key))), [])


def _place(item: dict[str, Any], ids: Sequence[str | None], names: Sequence[str]) -> int | None:
    """Return the place of the call that a result names by its id, or else by the name of its function."""
    for key, known in zip(RESULT_KEYS, (ids, names), strict=True):
        name = item.get(key)
        if not is_null(name) and known.count(name) == 1:
            return known.index(name)
    return None
