"""Messages of a chat template from the turns of a row, and other forms of them for strict templates."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loratory.objectives.data.rows import Role, Turn

_BETWEEN = "\n\n"

SYSTEM_JOINED = "system text joined to the user turn beside it"
LEADING_DROPPED = "leading assistant turns dropped"
TURNS_JOINED = "turns of one role joined"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: system, user, assistant or tool.
        content: its text.
        calls: tool calls in the form of `apply_chat_template`.
        answers: id and name of the call that a tool message answers.
        learn: the row's own mark on the turn; None without a mark.
    """

    role: str
    content: str
    calls: tuple[dict[str, Any], ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    learn: bool | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The message as chat templates take it."""
        calls = {"tool_calls": list(self.calls)} if self.calls else {}
        return {"role": self.role, "content": self.content, **calls, **self.answers}


def chat_messages(turns: Sequence[Turn]) -> list[Message]:
    """Return turns as messages; an input joins the user turn before it, a result knows its call."""
    messages: list[Message] = []
    called: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for turn in turns:
        if turn.role is Role.INPUT and messages and messages[-1].role == "user":
            last = messages[-1]
            messages[-1] = replace(last, content=f"{last.content}{_BETWEEN}{turn.text}")
        elif turn.role is Role.ASSISTANT:
            calls = template_calls(turn.calls, first=_call_count(messages))
            called, waiting = (list(calls), list(calls)) if calls else (called, waiting)
            messages.append(Message(role="assistant", content=turn.text, calls=calls, learn=turn.learn))
        elif turn.role is Role.TOOL:
            call = _answered(turn, called, waiting)
            names = {"tool_call_id": call["id"], "name": call["function"]["name"]} if call else {}
            messages.append(Message(role="tool", content=turn.text, answers=names))
        else:
            role = "user" if turn.role in (Role.INPUT, Role.PROMPT) else turn.role.value
            messages.append(Message(role=role, content=turn.text))
    return messages


def _answered(
    turn: Turn, called: Sequence[dict[str, Any]], waiting: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the call that a result belongs to, which no longer waits then; None where there is none."""
    if turn.answers is None:
        return waiting.pop(0) if waiting else None
    call = called[turn.answers]
    if call in waiting:
        waiting.remove(call)
    return call


def template_calls(calls: str, *, first: int = 0) -> tuple[dict[str, Any], ...]:
    """Return calls as chat templates take them, with ids of nine characters, which Mistral's asks for.

    Args:
        calls: JSON text of a list of `{"name": ..., "arguments": {...}}`, or "".
        first: number of the first call in its conversation.
    """
    return tuple(
        {"type": "function", "id": f"call{number:05d}", "function": dict(call)}
        for number, call in enumerate(json.loads(calls) if calls else [], start=first)
    )


def _call_count(messages: Sequence[Message]) -> int:
    return sum(len(message.calls) for message in messages)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of a conversation that a template may take.

    Attributes:
        messages: the conversation.
        changes: what was done to it; empty for the conversation as it is.
    """

    messages: tuple[Message, ...]
    changes: tuple[str, ...] = ()


def forms(messages: Sequence[Message], *, adapt: bool) -> Iterator[Form]:
    """Yield a conversation as it is, then, if `adapt`, in other forms with ever more changed.

    Args:
        messages: the whole conversation; the answer is the last.
        adapt: whether to change anything.
    """
    tried = [tuple(messages)]
    yield Form(messages=tried[0])
    for steps in _ATTEMPTS if adapt else ():
        form = Form(messages=tried[0])
        for name, change in steps:
            changed = tuple(change(form.messages))
            if changed != form.messages:
                form = Form(messages=changed, changes=(*form.changes, name))
        if form.messages not in tried:
            tried.append(form.messages)
            yield form


def _system_joined(messages: Sequence[Message]) -> list[Message]:
    """Join each system text to the user turn after it, or to the one before it where none follows."""
    joined: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
            continue
        if message.role == "user" and waiting:
            message = replace(message, content=_BETWEEN.join([*waiting, message.content]))
            waiting = []
        joined.append(message)
    if not waiting:
        return joined
    last = next((place for place, m in reversed(list(enumerate(joined))) if m.role == "user"), None)
    if last is None:
        return list(messages)
    joined[last] = replace(joined[last], content=_BETWEEN.join([joined[last].content, *waiting]))
    return joined


def _leading_dropped(messages: Sequence[Message]) -> list[Message]:
    """Drop assistant turns before the first user turn, and the results of their calls."""
    first = next((place for place, m in enumerate(messages) if m.role == "user"), 0)
    return [m for place, m in enumerate(messages) if place >= first or m.role == "system"]


def _same_joined(messages: Sequence[Message]) -> list[Message]:
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        # A turn that must not be learned never becomes part of one that is.
        same = (
            last is not None
            and last.role == message.role
            and message.role != "tool"
            and (last.learn is False) == (message.learn is False)
        )
        if last is not None and same and not last.calls:
            content = _BETWEEN.join(text for text in (last.content, message.content) if text)
            joined[-1] = replace(message, content=content, learn=last.learn or message.learn)
        else:
            joined.append(message)
    return joined


_Step = tuple[str, Callable[[Sequence[Message]], list[Message]]]
_SYSTEM: _Step = (SYSTEM_JOINED, _system_joined)
_LEADING: _Step = (LEADING_DROPPED, _leading_dropped)
_SAME: _Step = (TURNS_JOINED, _same_joined)
_ATTEMPTS = ((_SYSTEM,), (_LEADING,), (_SAME,), (_LEADING, _SAME), (_SYSTEM, _LEADING, _SAME))
