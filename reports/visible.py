r"""Foreign text made harmless: what cannot be seen, or changes how other text is seen, becomes an escape.

Escape codes of terminals, control characters, characters that turn the direction of text, and characters
without width are written as Python writes them (`\x1b`, `\u202e`).
"""

import json
import re
from typing import Final

LONGEST: Final = 2000
"""Characters of a text that views show."""
LONGEST_CELL: Final = 300
"""Characters of a text in a cell or a line."""

_JOINERS = ("\u200c", "\u200d")
"""Joiners belong into Persian, Hindi and emoji, and only there."""

# Controls but tab and line feed; then the characters of Unicode's category Cf that have no shape, separators
# of lines and paragraphs, Hangul's fillers, and halves of surrogate pairs.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064"
    "\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0001-\U000e007f\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return text in which every character can be seen; `\n` and `\t` stay, `\r\n` becomes `\n`."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(_escape, text.replace("\r\n", "\n"))


def json_escaped(text: str) -> str:
    r"""Return JSON text with the same content in which every character can be seen."""
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a text, with the number of characters that were left out."""
    left_out = len(text) - longest
    return text if left_out <= 0 else f"{text[:longest]}… ({left_out:,} more characters)"


def one_line(text: str, longest: int = LONGEST_CELL) -> str:
    """Return text for a cell or a line: on one line, cut, with every character visible."""
    if len(text) <= longest and text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    # Splitting a very long text only to cut it takes time.
    whole = text if len(text) <= 4 * longest else text[: 4 * longest]
    line = cut(visible(" ".join(whole.split())), longest)
    return line if len(whole) == len(text) else f"{line[:longest]}… ({len(text):,} characters)"


def _escape(found: re.Match[str]) -> str:
    if found[0] in _JOINERS and _joins(found.string, found.start()):
        return found[0]
    return found[0].encode("unicode_escape").decode("ascii")


def _joins(text: str, place: int) -> bool:
    """Return whether a joiner stands between two letters of a script or emoji that may need it."""
    around = text[place - 1 : place + 2] if place else ""
    return len(around) == 3 and all(not c.isascii() and not _HIDDEN.match(c) for c in around[::2])
