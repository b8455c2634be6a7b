"""Remove rows that nothing can be learned from: an empty prompt or answer, or wrongly encoded text."""

import re
import unicodedata
from collections.abc import Iterable

from loratory.objectives.data.rows import Ledger, Part, Reason, Row

_ALLOWED_CONTROLS = "\t\n\r\f"

# UTF-8 that was read as Windows-1252 or Latin-1: C3 A9 (é) shows as Ã©, E2 80 99 (’) as â€™.
# Only sequences that no language writes: French puts à, a hard space and » side by side, which is UTF-8 too.
_MOJIBAKE = re.compile("[ÂÃ][\u0080-\u00bf]|â€[\u2122\u02dc\u0153\u009d\u201c\u201d\u00a6\u00a2]|â‚¬|ï»¿|ðŸ")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


def screen(rows: Iterable[Row], part: Part, ledger: Ledger) -> list[Row]:
    """Return the rows with a prompt and an answer in valid Unicode; the others go to the ledger."""
    kept = []
    for row in rows:
        empty = _empty(row)
        broken = encoding_problem("\n".join([*(turn.text for turn in row.turns), row.answer]))
        if empty is not None:
            ledger.remove(part, row.raw, reason=Reason.EMPTY, detail=empty)
        elif broken is not None:
            ledger.remove(part, row.raw, reason=Reason.WRONG_ENCODING, detail=broken)
        else:
            kept.append(row)
    return kept


def encoding_problem(text: str) -> str | None:
    """Return the sign that a text was read or written in the wrong encoding, or None."""
    for match in _CONTROL.finditer(text):
        character = match.group()
        if character not in _ALLOWED_CONTROLS:
            return f"holds {_named(character)} at character {match.start()}"
    mojibake = _MOJIBAKE.search(text)
    if mojibake:
        return f"holds {mojibake.group()!r} at character {mojibake.start()}: UTF-8 read as Latin-1"
    return None


def _empty(row: Row) -> str | None:
    if not any(turn.text.strip() for turn in row.turns):
        return "no prompt"
    return None if row.answer.strip() else "no answer"


def _named(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if unicodedata.category(character) == "Cs":
        return f"half a surrogate pair {code}"
    return f"{unicodedata.name(character, 'control character').lower()} {code}"
