"""Spans of the earlier assistant turns in a rendered prompt, for `data.learn: all`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loratory.objectives.data.messages import Message
from loratory.objectives.data.rendered import RenderError
from loratory.objectives.data.thoughts import after_thought, has_thought, opened_thought

Span = tuple[int, int]
"""Start and end in a text, in characters."""


def find_learned(
    messages: Sequence[Message],
    prompt: str,
    *,
    text: Callable[[Sequence[Mapping[str, Any]]], str],
    space: str,
    ends: Sequence[str],
    keep_thoughts: bool,
) -> tuple[Span, ...]:
    """Return the places of the assistant turns that are learned, each with the text that ends its turn.

    The conversation is rendered again with a name in the place of each assistant turn. What stands between
    the names is the template's and the other turns' text, which must be the same in the prompt.

    Args:
        messages: the conversation before the answer.
        prompt: the text that it was rendered as.
        text: renders a conversation, with the answer after it.
        space: white space that the template puts before answers.
        ends: texts that may end a turn, the longest first.
        keep_thoughts: whether a turn whose thought the template cuts is not learned.

    Raises:
        RenderError: the template rewrites a turn, so that its place is not known.
    """
    turns = [message for message in messages if message.role == "assistant"]
    if not any(message.learn is not False for message in turns):
        return ()
    names = [f"loratoryturn{number}." for number in range(len(turns))]
    unused = iter(names)
    marked = text(
        [
            replace(message, content=next(unused), calls=()).fields
            if message.role == "assistant"
            else message.fields
            for message in messages
        ]
    )
    return _spans(turns, _between(marked, names), prompt, space=space, ends=ends, keep_thoughts=keep_thoughts)


def _between(marked: str, names: Sequence[str]) -> list[str]:
    """Return the pieces of a text before, between and after names that it must hold once each, in order."""
    pieces, rest = [], marked
    for name in names:
        piece, found, rest = rest.partition(name)
        if not found:
            raise RenderError("the chat template leaves out an assistant turn, which data.learn all learns")
        pieces.append(piece)
    return [*pieces, rest]


def _spans(
    turns: Sequence[Message],
    pieces: Sequence[str],
    prompt: str,
    *,
    space: str,
    ends: Sequence[str],
    keep_thoughts: bool,
) -> tuple[Span, ...]:
    # The conversation has no thought that only the generation prompt opens.
    text = prompt[: len(prompt.rstrip()) - len(begun)] if (begun := opened_thought(prompt)) else prompt
    spans: list[Span] = []
    place = 0
    for number, turn in enumerate(turns):
        if not text.startswith(pieces[number], place):
            raise RenderError("the chat template rewrites earlier turns: data.learn all cannot find them")
        place += len(pieces[number])
        final = number == len(turns) - 1
        end = next(
            (
                end
                for end in _possible_ends(turn, text, place)
                if _follows(pieces[number + 1], text, end, final)
            ),
            None,
        )
        if end is None:
            raise RenderError("the chat template rewrites an assistant turn: data.learn all cannot find it")
        cut = has_thought(turn.content) and not has_thought(text[place:end])
        if turn.learn is not False and not (cut and keep_thoughts):
            closing = next((written for written in ends if written and text.startswith(written, end)), "")
            start = place - len(space) if space and text.endswith(space, 0, place) else place
            spans.append((start, end + len(closing)))
        place = end
    return tuple(spans)


def _possible_ends(turn: Message, text: str, place: int) -> Iterable[int]:
    """Return where a turn that begins at `place` may end: anywhere where it has calls."""
    if turn.calls:
        return range(place + 1, len(text) + 1)
    written = dict.fromkeys((turn.content, after_thought(turn.content)))
    return [place + len(content) for content in written if text.startswith(content, place)]


def _follows(piece: str, text: str, end: int, final: bool) -> bool:
    """Return whether a piece stands at `end`; the final one goes on with the answer, which `text` has not."""
    return piece.startswith(text[end:]) if final else text.startswith(piece, end)
