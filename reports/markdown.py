"""Markdown that holds foreign text: escaping, tables and fences."""

import re
from collections.abc import Sequence

# An underscore within a word means nothing in Markdown, and parameter names have many.
_SPECIAL = re.compile(r"([\\`*\[\]<>#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_FENCE = re.compile(r"`{3,}")


def escaped(text: str) -> str:
    """Text on one line that shows as it is, in prose or in a table's cell."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 0) -> str:
    """A table; cells are escaped, and columns after the first `text_columns` are aligned to the right."""
    rule = [":--" if index < text_columns else "--:" for index in range(len(header))]
    lines = [[escaped(cell) for cell in header], rule, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fenced(text: str) -> str:
    """A block of text as it is, between fences longer than any in it."""
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"
