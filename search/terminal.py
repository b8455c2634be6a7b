"""Output to terminals and logs that are not UTF-8."""

import codecs
import io
from typing import IO, Any, Final

_PLAIN: Final = {"−": "-", "–": "-", "—": "-", "─": "-", "━": "-", "…": "...", "×": "x", "≥": ">=", "≤": "<="}
_HANDLER: Final = "loratory-plain"


def replace_what_cannot_be_shown(*streams: IO[Any]) -> None:
    """Have streams replace characters that their encoding lacks; an error would end a study.

    A minus sign becomes a hyphen, since a lost sign would mislead; what has no plain form becomes `?`.

    Args:
        streams: text files such as `sys.stdout`; others are left as they are.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lost), error.end
