"""Raw and parsed rows, and the ledger of removed rows with the reasons."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from loratory.spaces.errors import InputError


class Part(StrEnum):
    """The splits that the study file names; eval is later divided into dev and select."""

    TRAIN = "train"
    EVAL = "eval"
    TEST = "test"


class Reason(StrEnum):
    """Why a row was removed."""

    UNREADABLE = "unreadable"
    NOT_LEARNED = "not_learned"
    EMPTY = "empty"
    WRONG_ENCODING = "wrong_encoding"
    TEMPLATE = "template"
    UNENCODABLE = "unencodable"
    OVER_LENGTH = "over_length"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    LEAKED = "leaked"


class BadRowError(InputError):
    """A row that cannot be read; `data.bad_rows` says whether it stops the study or is removed.

    Attributes:
        rule: the message without the row's place.
        content: what could be read of the row, for removed.jsonl.
    """

    def __init__(self, place: str, rule: str, content: dict[str, Any] | None = None) -> None:
        super().__init__(f"{place}: {rule}")
        self.rule = rule
        self.content = content or {}


class Role(StrEnum):
    """Speaker of a turn. `prompt` is text as it is; `input` belongs to the user turn before it."""

    SYSTEM = "system"
    USER = "user"
    INPUT = "input"
    ASSISTANT = "assistant"
    TOOL = "tool"
    PROMPT = "prompt"


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRow:
    """A row as it was read.

    Attributes:
        file: the file or Hub data set, as the study file names it.
        number: from 1; the line of a JSONL file, else the record (the header of a CSV is not counted).
        fields: column name to value.
        problem: why the row cannot be read; "" for a row that can. Only with `data.bad_rows: remove`.
    """

    file: str
    number: int
    fields: dict[str, Any]
    problem: str = ""

    @property
    def place(self) -> str:
        """File and row number, for messages."""
        return f"{self.file}, row {self.number}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation before the answer.

    Attributes:
        role: who speaks.
        text: what is said; may be "" where there are calls.
        calls: JSON text of a list of calls `{"name": ..., "arguments": {...}}`; "" without calls.
        learn: the row's own mark on an assistant turn (a weight or train flag); None without a mark.
        answers: place, among the calls before it, of the call that a result belongs to; None: the results
            come in the order of the calls.
    """

    role: Role
    text: str
    calls: str = ""
    learn: bool | None = None
    answers: int | None = None

    @property
    def content(self) -> list[Any]:
        """The parts of the turn that decide its row's `content_id`."""
        if self.answers is not None:
            return [self.role, self.text, self.answers]
        if self.learn is not None:
            return [self.role, self.text, self.calls, self.learn]
        return [self.role, self.text, self.calls] if self.calls else [self.role, self.text]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A parsed row: the prompt and its answer.

    Attributes:
        raw: the row as it was read.
        turns: the prompt, not yet rendered.
        answer: the text that is learned; where it makes calls, their JSON text is its last line.
        group: value of the group column, or None.
        answer_calls: calls that are the answer, as in `Turn.calls`; "" without calls.
        tools: JSON text of the list of tools, for `apply_chat_template(tools=...)`; "" without tools.
    """

    raw: RawRow
    turns: tuple[Turn, ...]
    answer: str
    group: str | None
    answer_calls: str = ""
    tools: str = ""

    @cached_property
    def content_id(self) -> str:
        """First 16 hex digits of the SHA-256 of prompt, answer and tools; equal on every machine."""
        content: list[Any] = [[turn.content for turn in self.turns], self.answer]
        if self.answer_calls or self.tools:
            content += [self.answer_calls, self.tools]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def answer_text(self) -> str:
        """The answer without its calls."""
        return self.answer.removesuffix(self.answer_calls).rstrip() if self.answer_calls else self.answer

    @property
    def group_key(self) -> str:
        """The group's name, or `content_id` for a row without a group."""
        return self.content_id if self.group is None else f"group {self.group}"


@dataclass
class Ledger:
    """The removed rows, in the order of removal."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def remove(self, part: Part, raw: RawRow, *, reason: Reason, detail: str) -> None:
        """Note a removed row.

        Args:
            part: the split from which it was removed.
            raw: the row.
            reason: the rule that it broke.
            detail: the offending value, or the row that it repeats.
        """
        self.entries.append(
            {
                "split": part.value,
                "file": raw.file,
                "row": raw.number,
                "reason": reason.value,
                "detail": detail,
                "content": raw.fields,
            }
        )

    def counts(self, part: Part) -> dict[str, int]:
        """Count the removed rows of a split by reason, in the order of `Reason`."""
        reasons = [entry["reason"] for entry in self.entries if entry["split"] == part]
        return {reason.value: reasons.count(reason) for reason in Reason if reason in reasons}

    def first(self, part: Part, reason: Reason | None = None) -> dict[str, Any] | None:
        """Return the first removed row of a split, of any reason or of one; None without one."""
        own = (entry for entry in self.entries if entry["split"] == part)
        return next((entry for entry in own if reason in (None, entry["reason"])), None)

    def to_jsonl(self) -> bytes:
        """Return the content of removed.jsonl, one removed row per line."""
        return b"".join(_line(entry) for entry in self.entries)


def _line(entry: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(entry, ensure_ascii=False, allow_nan=False, default=str) + "\n").encode()
    except (UnicodeEncodeError, ValueError):
        # Half a surrogate pair has no UTF-8; an escape keeps it. NaN is no JSON; null stands for it.
        return (json.dumps(_finite(entry), default=str) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
