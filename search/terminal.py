"""Lines for terminals of any width, and for terminals and logs that are not UTF-8."""

import codecs
import io
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from loratory.reports.comparison_report import PublishAdvice

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


def say(console: "Console", *lines: "str | Text") -> None:
    """Print lines: on a terminal broken between words, elsewhere each as it is.

    Commands and paths that a user copies are printed with `soft_wrap`: a break would stand in the copy. So
    lines that end in a command, or have a word that is wider than the terminal, are not broken either.

    Args:
        console: where the lines go.
        lines: texts without markup.
    """
    for line in lines:
        long_word = any(len(word) > console.width for word in str(line).split())
        whole = not console.is_terminal or long_word or ": loratory " in str(line)
        console.print(line, highlight=False, markup=False, soft_wrap=whole)


def say_how_to_publish(console: "Console", folder: "Path | str", advice: "PublishAdvice | None") -> None:
    """Print how the adapter that a study chose is published, or why it cannot be.

    Args:
        console: where the lines go.
        folder: the study folder as it was given.
        advice: how its adapter is published; None prints nothing.
    """
    if advice is None:
        return
    if (publish := advice.command(folder)) is not None:
        console.print(f"publish it: {publish}", highlight=False, markup=False, soft_wrap=True)
    if advice.note:
        say(console, advice.note)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lost), error.end
