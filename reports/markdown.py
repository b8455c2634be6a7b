"""Escape foreign text in Markdown prose, tables and code blocks."""

import re
from collections.abc import Sequence

from loratory.reports.visible import LONGEST, cut, one_line, visible

# Markdown gives an underscore within a word no meaning, and parameter names have many.
_SPECIAL = re.compile(r"([\\`*\[\]<>#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
# `[0.1, 0.2]`, which is no link unless one of these follows.
_INTERVAL = re.compile(r"(\[[-+−0-9.]+, [-+−0-9.]+\](?![\[(:]))")
_FENCE = re.compile(r"`{3,}")


def escaped(text: str) -> str:
    """Return text on one line, cut if it is very long, that prose or a cell of a table shows as it is."""
    parts = _INTERVAL.split(one_line(text, LONGEST))
    parts[::2] = [_SPECIAL.sub(r"\\\1", part).replace("&", "&amp;") for part in parts[::2]]
    return "".join(parts)


def code(text: str) -> str:
    """Return text on one line as inline code, which shows it unchanged."""
    line = cut(visible(" ".join(text.splitlines())))
    longest = max((len(found) for found in re.findall("`+", line)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{line}{space}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 0) -> str:
    """Return a table with escaped cells; columns after the first `text_columns` are aligned to the right."""
    rule = [":--" if index < text_columns else "--:" for index in range(len(header))]
    lines = [[escaped(cell) for cell in header], rule, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fenced(text: str) -> str:
    """Return a block of text between fences longer than any fence in it; what cannot be seen is escaped."""
    text = visible(text)
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"
