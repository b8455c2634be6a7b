"""Read lists of turns in the formats of OpenAI (`role`, `content`) and ShareGPT (`from`, `value`)."""

from types import MappingProxyType
from typing import Any

from loratory.objectives.data.rows import RawRow, Role, Turn
from loratory.objectives.data.view import View, as_text, shortened
from loratory.spaces.errors import InputError

Dialogue = tuple[tuple[Turn, ...], str]

_ROLES = MappingProxyType(
    {
        "system": Role.SYSTEM,
        "developer": Role.SYSTEM,
        "user": Role.USER,
        "human": Role.USER,
        "assistant": Role.ASSISTANT,
        "gpt": Role.ASSISTANT,
        "chatgpt": Role.ASSISTANT,
        "model": Role.ASSISTANT,
        "bot": Role.ASSISTANT,
        "tool": Role.TOOL,
        "function": Role.TOOL,
        "observation": Role.TOOL,
    }
)


def read_conversation(view: View, column: str) -> Dialogue:
    """Return the turns before the last answer, and that answer ("" where there is none).

    Args:
        view: the row.
        column: the column with the list of turns; both OpenAI's and ShareGPT's keys are accepted.

    Raises:
        InputError: the value is not a list of turns that each have a known role and a text.
    """
    items = view.value(column)
    if not isinstance(items, list):
        raise InputError(
            f"{view.raw.place}: {column} must be a list of turns, got {type(items).__name__} "
            f"{shortened(items)}"
        )
    turns = [_turn(item, view.raw, f"{column}[{index}]") for index, item in enumerate(items)]
    answers = [index for index, turn in enumerate(turns) if turn.role is Role.ASSISTANT]
    last = answers[-1] if answers else len(turns)
    answer = turns[last].text if answers else ""
    return tuple(turn for turn in turns[:last] if turn.text), answer


def _turn(item: Any, raw: RawRow, place: str) -> Turn:
    if not isinstance(item, dict):
        raise InputError(f"{raw.place}: {place} must be an object, got {type(item).__name__}")
    role_key, text_key = ("from", "value") if "from" in item else ("role", "content")
    for key in (role_key, text_key):
        if item.get(key) is None:
            raise InputError(f"{raw.place}: {place}.{key} must be text, got null or nothing")
    role = _ROLES.get(as_text(item[role_key], raw, f"{place}.{role_key}").lower())
    if role is None:
        known = ", ".join(_ROLES)
        raise InputError(f"{raw.place}: {place}.{role_key} must be one of {known}, got {item[role_key]!r}")
    return Turn(role, _content(item[text_key], raw, f"{place}.{text_key}").strip())


def _content(content: Any, raw: RawRow, place: str) -> str:
    """Return the text of a turn; OpenAI may write it as a list of text parts."""
    if not isinstance(content, list):
        return as_text(content, raw, place)
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(as_text(part, raw, f"{place} (text only)") for part in parts)
