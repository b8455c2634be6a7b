"""Tools and tool calls, as OpenAI, ShareGPT and others write them, in one form as JSON text."""

import json
from typing import Any

from loratory.objectives.data.learned_columns import is_filled
from loratory.objectives.data.rows import BadRowError
from loratory.objectives.data.values import from_json, shortened

CALL_KEYS = ("tool_calls", "function_call")
"""Keys of turns that hold calls."""

_ARGUMENTS = ("arguments", "parameters", "input", "args", "kwargs")
_NAMES = ("name", "id", "call_id", "type", "index")


def read_calls(value: Any, row_place: str, place: str) -> str:
    """Return calls as the JSON text of a list of `{"name": ..., "arguments": {...}}`.

    Args:
        value: a call or a list of calls, as objects or as JSON text; OpenAI's `function` may be around each.
        row_place: file and number of the row, for the message.
        place: name of the value in the row, for the message.

    Raises:
        BadRowError: the value holds something else.
    """
    read = from_json(value)
    calls = read if isinstance(read, list) else [read]
    return json.dumps([_call(from_json(call), row_place, place) for call in calls], ensure_ascii=False)


def call_ids(value: Any) -> list[str | None]:
    """Return the id of each call of a value that `read_calls` reads; None where a call has none."""
    read = from_json(value)
    calls = [from_json(call) for call in (read if isinstance(read, list) else [read])]
    return [call.get("id") if isinstance(call, dict) else None for call in calls]


def _call(call: Any, row_place: str, place: str) -> dict[str, Any]:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise BadRowError(
            row_place,
            f"{place} must hold calls such as {{'name': 'weather', 'arguments': {{'city': 'Oslo'}}}}, "
            f"got {shortened(call)}",
        )
    known = [key for key in _ARGUMENTS if inner.get(key) is not None]
    others = [key for key, value in inner.items() if key not in _NAMES and is_filled(value)]
    if len(known) > 1 or (not known and others):
        raise BadRowError(
            row_place, f"{place} must have the arguments of a call as `arguments`, has {', '.join(inner)}"
        )
    return {"name": inner["name"], "arguments": from_json(inner[known[0]]) if known else {}}


def read_tools(value: Any, row_place: str, column: str) -> str:
    """Return tools as the JSON text of a list of objects; "" for none.

    Tools stay as the row has them, since templates differ in the form that they expect. Those of OpenAI's
    earlier column `functions` get the object `{"type": "function", "function": ...}` around them.

    Args:
        value: a list of tools or one tool, as objects or as JSON text.
        row_place: file and number of the row, for the message.
        column: the column, for the message.

    Raises:
        BadRowError: the value holds something else.
    """
    read = from_json(value)
    if isinstance(read, str) and not read.strip():
        return ""
    tools = [from_json(tool) for tool in (read if isinstance(read, list) else [read])]
    for tool in tools:
        if not isinstance(tool, dict):
            raise BadRowError(row_place, f"{column} must be a list of tools, got {shortened(value)}")
    if column == "functions":
        tools = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
    return json.dumps(tools, ensure_ascii=False) if tools else ""
