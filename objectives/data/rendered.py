"""A row as text, and the interfaces of what makes it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from loratory.objectives.data.rows import Row
from loratory.spaces.data import DataSpec, Learn, Thoughts


class PromptStyle(StrEnum):
    """Source of the prompts."""

    TEMPLATE = "template"
    CHAT_TEMPLATE = "chat_template"
    SECTIONS = "sections"
    AS_WRITTEN = "as_written"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that data preparation uses."""

    bos_token_id: int | None
    eos_token_id: int | None
    eos_token: str | None
    pad_token_id: int | None
    unk_token_id: int | None
    all_special_ids: list[int]
    added_tokens_decoder: dict[int, Any]
    chat_template: Any

    def __call__(self, text: Any, **options: Any) -> Any:
        """Return the token ids of a text or of a list of texts, under `input_ids`."""
        ...

    def batch_decode(self, sequences: Any, **options: Any) -> list[str]:
        """Return the texts of lists of token ids."""
        ...

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Return a conversation as one text."""
        ...

    def get_chat_template(self, chat_template: Any = None, tools: Any = None) -> str:
        """Return the text of the chat template that a conversation is rendered by."""
        ...


class RenderError(Exception):
    """The template refuses a row or changes it; the message says how."""


class RefusedError(RenderError):
    """The template refuses the turns of a row as they are; it may take them in another form."""


class LeftOutError(RenderError):
    """Tools, calls or a mark, which change what is learned, would be left out; this stops the study."""


@dataclass(frozen=True, kw_only=True)
class RenderingRules:
    """Settings of rendering, from the study file and the date on which the study began.

    Attributes:
        thoughts: what is learned of answers whose thoughts a chat template cuts.
        adapt_turns: whether turns that a chat template refuses are joined or dropped.
        learn: which assistant turns are learned.
        date: the date that a chat template states; None takes the clock's.
    """

    thoughts: Thoughts = Thoughts.TEMPLATE
    adapt_turns: bool = True
    learn: Learn = Learn.LAST
    date: datetime | None = None

    @classmethod
    def of(cls, data: DataSpec, created_at: str | None) -> "RenderingRules":
        """Return the rules of a study.

        Args:
            data: the study's section.
            created_at: time at which the study began, ISO 8601; None takes the clock's.
        """
        return cls(
            thoughts=data.thoughts,
            adapt_turns=data.adapt_turns,
            learn=data.learn,
            date=None if created_at is None else datetime.fromisoformat(created_at),
        )


def check_marks(row: Row, learn: Learn) -> None:
    """Refuse a row that marks an earlier turn as learned where only the last is.

    Raises:
        LeftOutError: the mark would not be honoured.
    """
    if learn is Learn.LAST and any(turn.learn for turn in row.turns):
        raise LeftOutError(
            "a turn before the last answer is marked as learned and data.learn is last: set data.learn: all, "
            "or leave the marks out with data.columns, such as {weight: null}"
        )


@dataclass(frozen=True)
class Rendered:
    """A row as text.

    Attributes:
        prompt: the text that the model reads.
        answer: the text that it learns to write, with the white space before it in the template.
        closing: the text between the answer and end-of-sequence; None takes the renderer's.
        learned: parts of the prompt that are learned too, as (start, end) in characters.
    """

    prompt: str
    answer: str
    closing: str | None = None
    learned: tuple[tuple[int, int], ...] = ()


class Renderer(Protocol):
    """Renders rows as text.

    Attributes:
        description: a line for the terminal.
        style: how prompts are made.
        adds_special_tokens: whether the tokens with which the tokenizer starts a text must be added.
        closing: the text between an answer and the end-of-sequence token.
    """

    description: str
    style: PromptStyle
    adds_special_tokens: bool
    closing: str

    @property
    def date(self) -> str | None:
        """The date that prompts state, ISO 8601; None where they state none."""
        ...

    def render(self, row: Row) -> Rendered:
        """Render a row.

        Raises:
            RenderError: the row cannot be rendered.
            LeftOutError: nor can others like it.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """Return lines for the terminal on what was done to the rows rendered so far."""
        ...
