"""Render rows as the text that the model reads, by chat template or, without one, in sections."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from loratory.objectives.data.rows import Role, Row, Turn
from loratory.spaces.errors import InputError

SECTION_TITLES = MappingProxyType(
    {
        Role.SYSTEM: "System",
        Role.USER: "Instruction",
        Role.INPUT: "Input",
        Role.ASSISTANT: "Response",
        Role.TOOL: "Tool",
    }
)


class PromptStyle(StrEnum):
    """Source of the prompts."""

    TEMPLATE = "template"
    CHAT_TEMPLATE = "chat_template"
    SECTIONS = "sections"
    AS_WRITTEN = "as_written"


_PROBE_PROMPT, _PROBE_ANSWER = "loratoryquestion", "loratoryanswer"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that data preparation uses."""

    bos_token_id: int | None
    eos_token_id: int | None
    eos_token: str | None
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


class RenderError(Exception):
    """The template refuses a row or changes it; the message says how."""


@dataclass(frozen=True)
class Rendered:
    """A row as text.

    Attributes:
        prompt: the text that the model reads.
        answer: the text that it learns to write, with the white space before it in the template.
    """

    prompt: str
    answer: str


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

    def render(self, row: Row) -> Rendered:
        """Render a row.

        Raises:
            RenderError: the row cannot be rendered.
        """
        ...


class Sections:
    """Sections `### Instruction:`, `### Input:`, `### Response:`; a `prompt` turn stays as it is.

    The layout is that of Stanford Alpaca (Taori et al., 2023) without its opening sentence.
    """

    adds_special_tokens = True
    closing = ""

    def __init__(self, description: str, style: PromptStyle = PromptStyle.SECTIONS) -> None:
        self.description, self.style = description, style

    def render(self, row: Row) -> Rendered:
        """Render a row; this never fails."""
        if row.turns and row.turns[0].role is Role.PROMPT:
            return Rendered(row.turns[0].text, row.answer)
        sections = [f"### {SECTION_TITLES[turn.role]}:\n{turn.text}\n\n" for turn in row.turns]
        return Rendered("".join(sections) + "### Response:\n", row.answer.strip())


class ChatTemplate:
    """The tokenizer's own chat template.

    The prompt ends where the answer begins in a rendered conversation. For most templates this equals the
    text that `add_generation_prompt` gives. Some put an empty thought before answers (Qwen3), or open a
    thought only in the generation prompt (DeepSeek-R1); then the conversation decides, so that training
    and scoring read the same text.
    """

    style = PromptStyle.CHAT_TEMPLATE
    adds_special_tokens = False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        before, self._tail = self._probe()
        opening = self._text([{"role": "user", "content": _PROBE_PROMPT}], add_generation_prompt=True)
        lead = before.removeprefix(opening)
        self._space = lead if before.startswith(opening) and not lead.strip() else ""
        usual = before == opening + self._space
        self.closing = self._closing(tokenizer.eos_token or "")
        self.description = "prompts: the tokenizer's chat template" + (
            "" if usual else " (its generation prompt differs from what stands before an answer)"
        )

    def render(self, row: Row) -> Rendered:
        """Render a row.

        Raises:
            RenderError: the template refuses the conversation, or rewrites its answer or its earlier turns.
        """
        from jinja2 import TemplateError

        answer = row.answer.strip()
        prompt = chat_messages(row.turns)
        try:
            # Some templates put end-of-sequence after a conversation without a generation prompt.
            earlier = [self._text(prompt, add_generation_prompt=asked) for asked in (True, False)]
            whole = self._text([*prompt, {"role": "assistant", "content": answer}])
        except (TemplateError, TypeError, ValueError) as error:
            raise RenderError(f"the chat template refuses it: {error}") from error
        before = whole.removesuffix(self._space_and(answer))
        if before == whole:
            raise RenderError("the chat template rewrites the answer")
        if not any(before.startswith(text) for text in earlier):
            raise RenderError("the chat template rewrites earlier turns when an answer follows")
        return Rendered(before, self._space + answer)

    def _space_and(self, answer: str) -> str:
        return self._space + answer + self._tail

    def _probe(self) -> tuple[str, str]:
        from jinja2 import TemplateError

        try:
            messages = chat_messages((Turn(Role.USER, _PROBE_PROMPT), Turn(Role.ASSISTANT, _PROBE_ANSWER)))
            before, found, tail = self._text(messages).rpartition(_PROBE_ANSWER)
        except (TemplateError, TypeError, ValueError) as error:
            raise InputError(
                f"the tokenizer's chat template fails: {error}; set data.prompt_template"
            ) from error
        if not found or _PROBE_PROMPT not in before:
            raise InputError("the tokenizer's chat template leaves out turns; set data.prompt_template")
        return before, tail

    def _closing(self, eos: str) -> str:
        """Return the text after an answer, up to end-of-sequence, which is added by its id."""
        return self._tail.partition(eos)[0] if eos and eos in self._tail else self._tail.rstrip()

    def _text(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False) -> str:
        text: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text


def choose_renderer(tokenizer: Tokenizer, prompt_template: str | None) -> Renderer:
    """Return the renderer: the study's template, else the tokenizer's chat template, else sections.

    Raises:
        InputError: the chat template cannot be used.
    """
    if prompt_template is not None:
        return Sections("prompts: data.prompt_template", PromptStyle.TEMPLATE)
    if tokenizer.chat_template:
        return ChatTemplate(tokenizer)
    return Sections(
        "prompts: ### Instruction / Input / Response sections (the tokenizer has no chat template)"
    )


def chat_messages(turns: tuple[Turn, ...]) -> list[dict[str, str]]:
    """Return turns as messages for a chat template; an input joins the user turn before it."""
    messages: list[dict[str, str]] = []
    for turn in turns:
        if turn.role is Role.INPUT and messages and messages[-1]["role"] == "user":
            messages[-1]["content"] += f"\n\n{turn.text}"
        else:
            role = "user" if turn.role in (Role.INPUT, Role.PROMPT) else turn.role.value
            messages.append({"role": role, "content": turn.text})
    return messages
