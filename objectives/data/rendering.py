"""Render rows as the text that the model reads, by chat template or, without one, in sections."""

from types import MappingProxyType

from loratory.objectives.data.chat_template import ChatTemplate
from loratory.objectives.data.rendered import (
    PromptStyle,
    Rendered,
    Renderer,
    RenderError,
    RenderingRules,
    Tokenizer,
    check_marks,
)
from loratory.objectives.data.rows import Role, Row, Turn
from loratory.objectives.data.thoughts import after_thought
from loratory.spaces.data import Learn, Thoughts

__all__ = [
    "ChatTemplate",
    "PromptStyle",
    "RenderError",
    "Rendered",
    "Renderer",
    "RenderingRules",
    "Sections",
    "Tokenizer",
    "choose_renderer",
]

SECTION_TITLES = MappingProxyType(
    {
        Role.SYSTEM: "System",
        Role.USER: "Instruction",
        Role.INPUT: "Input",
        Role.ASSISTANT: "Response",
        Role.TOOL: "Tool",
    }
)


class Sections:
    """Sections `### Instruction:`, `### Input:`, `### Response:`; a `prompt` turn stays as it is.

    The layout is that of Stanford Alpaca (Taori et al., 2023) without its opening sentence. Tools are a
    section at the head, and a call is the JSON text of a response.
    """

    adds_special_tokens = True
    closing = ""
    date = None

    def __init__(
        self,
        description: str,
        style: PromptStyle = PromptStyle.SECTIONS,
        rules: RenderingRules | None = None,
    ) -> None:
        self.description, self.style = description, style
        self._rules = rules or RenderingRules()

    def render(self, row: Row) -> Rendered:
        """Render a row.

        Raises:
            LeftOutError: a mark of the row would not be honoured.
        """
        check_marks(row, self._rules.learn)
        answer = after_thought(row.answer) if self._rules.thoughts is Thoughts.CUT else row.answer
        if row.turns and row.turns[0].role is Role.PROMPT:
            return Rendered(row.turns[0].text, answer)
        text = f"### Tools:\n{row.tools}\n\n" if row.tools else ""
        learned = []
        for turn in row.turns:
            text += f"### {SECTION_TITLES[turn.role]}:\n"
            start, text = len(text), text + self._text(turn)
            if turn.role is Role.ASSISTANT and self._rules.learn is Learn.ALL and turn.learn is not False:
                learned.append((start, len(text)))
            text += "\n\n"
        return Rendered(text + "### Response:\n", answer.strip(), learned=tuple(learned))

    def notes(self) -> tuple[str, ...]:
        """Return no lines: nothing is done to rows."""
        return ()

    def _text(self, turn: Turn) -> str:
        cut = self._rules.thoughts is Thoughts.CUT and turn.role is Role.ASSISTANT
        return _joined(after_thought(turn.text) if cut else turn.text, turn.calls)


def choose_renderer(
    tokenizer: Tokenizer, prompt_template: str | None, rules: RenderingRules | None = None
) -> Renderer:
    """Return the renderer: the study's template, else the tokenizer's chat template, else sections.

    Raises:
        InputError: the chat template cannot be used.
    """
    if prompt_template is not None:
        return Sections("prompts: data.prompt_template", PromptStyle.TEMPLATE, rules)
    if tokenizer.chat_template:
        return ChatTemplate(tokenizer, rules)
    return Sections(
        "prompts: ### Instruction / Input / Response sections (the tokenizer has no chat template)",
        rules=rules,
    )


def _joined(text: str, calls: str) -> str:
    return "\n".join(part for part in (text, calls) if part)
