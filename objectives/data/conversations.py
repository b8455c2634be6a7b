"""Read lists of turns in the formats of OpenAI (`role`, `content`) and ShareGPT (`from`, `value`)."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from loratory.objectives.data.calls import CALL_KEYS, read_calls
from loratory.objectives.data.learned_columns import LEARNED_KEYS, MARKS, is_filled, is_null, plain_name
from loratory.objectives.data.rows import BadRowError, Role, Turn
from loratory.objectives.data.tool_results import RESULT_KEYS, with_answered
from loratory.objectives.data.values import as_text, from_json, read_mark, shortened
from loratory.objectives.data.view import is_turns
from loratory.spaces.errors import InputError

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
        "function_call": Role.ASSISTANT,
        "tool_call": Role.ASSISTANT,
        "tool": Role.TOOL,
        "function": Role.TOOL,
        "observation": Role.TOOL,
        "ipython": Role.TOOL,
        "tool_response": Role.TOOL,
        "function_response": Role.TOOL,
    }
)
_CALL_ROLES = ("function_call", "tool_call")
_SPECIAL_KEYS = MARKS | LEARNED_KEYS
_SAID_KEYS = ("content", "value", *CALL_KEYS)
_TEXT_PARTS = ("text", "input_text", "output_text")
_LIST_OF_OBJECTS = re.compile(r"\s*(?:array\()?\[\s*\{\s*['\"]")
_KEYS_OF_TURNS = tuple(
    re.compile(rf"""['"](?:{names})['"]\s*:""") for names in ("role|from", "content|value")
)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A row as a format reads it: the turns before the answer, and the answer.

    Attributes:
        turns: the prompt.
        answer: text of the answer; "" where there is none.
        calls: calls of the answer, as in `Turn.calls`.
        learned: whether there is an answer that the marks of the row let the model learn.
    """

    turns: tuple[Turn, ...]
    answer: str
    calls: str = ""
    learned: bool = True


def split_answer(turns: Sequence[Turn]) -> Dialogue:
    """Return the turns before the last answer that is learned, and that answer ("" where there is none).

    Turns that say nothing are left out, but for results of tools: an empty one is a result too.
    """
    answers = [index for index, turn in enumerate(turns) if turn.role is Role.ASSISTANT]
    learned = [index for index in answers if turns[index].learn is not False]
    if not learned:
        return Dialogue(_said(turns), "", learned=not answers)
    answer = turns[learned[-1]]
    text = "\n".join(filter(None, (answer.text, answer.calls)))
    return Dialogue(_said(turns[: learned[-1]]), text, answer.calls)


def _said(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.text or turn.calls or turn.role is Role.TOOL)


def written_turns(value: Any) -> Any:
    """Return what a value holds where texts may stand in the place of turns; None for a text.

    A text is a list of turns only if it holds all of a turn: an answer may be JSON with a key `role`. Text
    that looks like turns and cannot be read is returned as it is, for `TurnReader.read` to refuse.
    """
    read = from_json(value)
    turns = [read] if isinstance(read, dict) else read
    if isinstance(value, list) and is_turns(value):
        return value
    if isinstance(turns, list) and turns and _is_whole_turn(turns[0]):
        return turns
    return read if isinstance(read, str) and _looks_like_turns(read) else None


def _is_whole_turn(item: Any) -> bool:
    return isinstance(item, dict) and _has_any(item, ("role", "from")) and _has_any(item, _SAID_KEYS)


def _has_any(item: dict[str, Any], keys: Sequence[str]) -> bool:
    return not item.keys().isdisjoint(keys)


def _looks_like_turns(text: str) -> bool:
    """Return whether text that is no JSON begins like turns, as numpy writes them, without commas."""
    return _LIST_OF_OBJECTS.match(text) is not None and all(key.search(text) for key in _KEYS_OF_TURNS)


class TurnReader:
    """Reads lists of turns, and remembers the keys that were not used.

    Attributes:
        unused: names of the keys of turns that nothing reads, such as `messages[].id`.
    """

    def __init__(self, unwanted: frozenset[str]) -> None:
        self._unwanted = unwanted
        self.unused: dict[str, None] = {}

    def read(self, value: Any, row_place: str, column: str) -> list[Turn]:
        """Return the turns of a list.

        Args:
            value: a list of turns, or its JSON text.
            row_place: file and number of the row, for messages.
            column: the column of the list, for messages.

        Raises:
            BadRowError: the value is not a list of turns that each have a known role and a text or calls.
            InputError: a turn has a mark, or holds something, that cannot be honoured.
        """
        items = from_json(value)
        if not isinstance(items, list):
            kind = f"{type(items).__name__} {shortened(items)}"
            hint = "; write it as JSON" if isinstance(items, str) and _looks_like_turns(items) else ""
            raise BadRowError(row_place, f"{column} must be a list of turns, got {kind}{hint}")
        turns = [self._turn(item, row_place, column, index) for index, item in enumerate(items)]
        return with_answered(turns, items) if any(turn.role is Role.TOOL for turn in turns) else turns

    def _turn(self, item: Any, row_place: str, column: str, index: int) -> Turn:
        plain = _plain_turn(item)
        if plain is not None:
            return plain
        place = f"{column}[{index}]"
        if not isinstance(item, dict):
            raise BadRowError(row_place, f"{place} must be an object, got {type(item).__name__}")
        role_key, text_key = _keys(item)
        name, role = _role(item.get(role_key), row_place, f"{place}.{role_key}")
        calls = _calls(item, row_place, place)
        if name in _CALL_ROLES:
            calls, text = read_calls(item.get(text_key), row_place, f"{place}.{text_key}"), ""
        elif is_null(item.get(text_key)) and (calls or role is Role.TOOL):
            text = ""
        else:
            text = _content(item.get(text_key), role, row_place, f"{place}.{text_key}").strip()
        read = {role_key, text_key, *CALL_KEYS, *(RESULT_KEYS if role is Role.TOOL else ())}
        learn = self._other_keys(item, read, f"{row_place}: {place}")
        if learn and role is not Role.ASSISTANT:
            raise InputError(
                f"{row_place}: {place} must not be marked as learned: only turns of the assistant are"
            )
        return Turn(role, text, calls, learn if role is Role.ASSISTANT else None)

    def _other_keys(self, item: dict[str, Any], read: set[str], place: str) -> bool | None:
        """Return the turn's mark; what would change what is learned stops the study."""
        learn = None
        for key, value in item.items():
            if key in read or is_null(value):
                continue
            name = plain_name(key)
            if key in self._unwanted or name not in _SPECIAL_KEYS:
                self.unused.setdefault(f"{_without_index(place)}.{key}")
            elif name in MARKS:
                learn = read_mark(value, f"{place}.{key}") and learn is not False
            elif is_filled(value):
                raise InputError(
                    f"{place}.{key} changes what is learned and is not read: move it into the turn's text "
                    f"(tools: into a column), or leave it out with data.columns: {{{key}: null}}"
                )
        return learn


def marked(turns: Sequence[Turn], learn: bool) -> list[Turn]:
    """Return turns with a mark on each answer that has none of its own."""
    return [
        replace(turn, learn=learn) if turn.role is Role.ASSISTANT and turn.learn is None else turn
        for turn in turns
    ]


def _plain_turn(item: Any) -> Turn | None:
    """Return a turn that is nothing but a role and a text, as nearly all are; None for another."""
    if not isinstance(item, dict) or len(item) != 2:
        return None
    name, text = item.get("role", item.get("from")), item.get("content", item.get("value"))
    if not isinstance(name, str) or not isinstance(text, str) or name in _CALL_ROLES:
        return None
    role = _ROLES.get(name)
    return Turn(role, text.strip()) if role is not None else None


def _keys(item: dict[str, Any]) -> tuple[str, str]:
    """Return the keys of role and text; the two layouts may be mixed."""
    if "from" in item:
        return "from", "value" if "value" in item or "content" not in item else "content"
    return "role", "content" if "content" in item or "value" not in item else "value"


def _role(value: Any, row_place: str, place: str) -> tuple[str, Role]:
    if is_null(value):
        raise BadRowError(row_place, f"{place} must be text, got null or nothing")
    name = as_text(value, row_place, place).lower()
    role = _ROLES.get(name)
    if role is None:
        raise BadRowError(row_place, f"{place} must be one of {', '.join(_ROLES)}, got {value!r}")
    return name, role


def _calls(item: dict[str, Any], row_place: str, place: str) -> str:
    for key in CALL_KEYS:
        if key in item and is_filled(item[key]):
            return read_calls(item[key], row_place, f"{place}.{key}")
    return ""


def _content(content: Any, role: Role, row_place: str, place: str) -> str:
    """Return the text of a turn; OpenAI may write it as a list of text parts, tools may give any JSON."""
    if is_null(content):
        raise BadRowError(row_place, f"{place} must be text, got null or nothing")
    parts = isinstance(content, list) and all(_is_text_part(part) for part in content)
    if role is Role.TOOL and isinstance(content, (list, dict)) and not parts:
        return json.dumps(content, ensure_ascii=False)
    if not isinstance(content, list):
        return as_text(content, row_place, place)
    return "".join(_part_text(part, row_place, f"{place} (text only)") for part in content)


def _part_text(part: Any, row_place: str, place: str) -> str:
    if not isinstance(part, dict):
        return as_text(part, row_place, place)
    kind = part.get("type")
    if not is_null(kind) and kind not in _TEXT_PARTS:
        raise BadRowError(row_place, f"{place} must be text, got a part of type {kind}")
    return as_text(part.get("text"), row_place, place)


def _is_text_part(part: Any) -> bool:
    if not isinstance(part, dict):
        return isinstance(part, str)
    return (part.get("type") or "text") in _TEXT_PARTS and isinstance(part.get("text"), str)


def _without_index(place: str) -> str:
    """Return `messages[]` of `a.jsonl, row 7: messages[2]`."""
    return place.rpartition(": ")[2].rpartition("[")[0] + "[]"
