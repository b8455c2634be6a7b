"""Search of a rendered text for tools and calls that a template may have formatted in its own way."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ESCAPES = re.compile(r"""\\(?:u[0-9a-fA-F]{4}|[nrtbf"'\\/])""")


def holds(text: str, part: str) -> bool:
    """Return whether a text holds a part: as it is, or the same letters and digits in the same order."""
    return part in text or _letters(part) in _letters(text)


def missing(text: str, parts: Iterable[str]) -> str | None:
    """Return the first part that a text does not hold, or None."""
    return next((part for part in parts if not holds(text, part)), None)


def tool_names(tools: str) -> list[str]:
    """Return the names in the JSON text of a list of tools; plain and in OpenAI's form."""
    found = []
    for tool in json.loads(tools) if tools else []:
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found.append(function["name"])
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


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, _ESCAPES.sub("", text)))
