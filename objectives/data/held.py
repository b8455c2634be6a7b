"""Search of a rendered text for tools and calls that a template may have formatted in its own way."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_ESCAPES = re.compile(r"""\\(?:u[0-9a-fA-F]{4}|[nrtbf"'\\/])""")


def holds(text: str, part: str, beside: Sequence[str] = ()) -> bool:
    """Return whether a text holds a part: as it is, or the same letters and digits in the same order.

    Args:
        text: a rendered conversation.
        part: what it must hold.
        beside: other parts of the same text. Where they hold the part too, it must come once more.
    """
    if _comes_once_more(text, part, beside):
        return True
    return _comes_once_more(_letters(text), _letters(part), map(_letters, beside))


def missing(text: str, parts: Iterable[str], beside: Sequence[str] = ()) -> str | None:
    """Return the first part that a text does not hold beside other parts, or None."""
    return next((part for part in parts if not holds(text, part, beside)), None)


def tool_names(tools: str) -> list[str]:
    """Return the name of each tool in the JSON text of a list, in OpenAI's form or plain, or another text."""
    found = []
    for tool in json.loads(tools) if tools else []:
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        name = function.get("name") if isinstance(function, dict) else None
        found += [name] if isinstance(name, str) else list(_leaves(tool))[:1]
    return found


def call_parts(calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return names and arguments of calls, as texts that a rendered call must hold."""
    return [part for call in calls for part in (call["name"], *_leaves(call.get("arguments", {})))]


def _leaves(value: Any) -> Iterator[str]:
    """Yield keys and texts of a value; numbers are left out, since templates may write them in other ways."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


def _comes_once_more(text: str, part: str, beside: Iterable[str]) -> bool:
    return not part or text.count(part) > sum(other.count(part) for other in beside)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, _ESCAPES.sub("", text)))
