"""Prompts and answers by the tokenizer's own chat template."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from loratory.objectives.data.held import call_parts, missing, tool_names
from loratory.objectives.data.learned_turns import find_learned
from loratory.objectives.data.messages import Form, Message, chat_messages, forms, template_calls
from loratory.objectives.data.rendered import (
    LeftOutError,
    PromptStyle,
    RefusedError,
    Rendered,
    RenderError,
    RenderingRules,
    Tokenizer,
    check_marks,
)
from loratory.objectives.data.rows import Role, Row, Turn
from loratory.objectives.data.template_text import TemplateText
from loratory.objectives.data.thoughts import after_thought, has_thought, opened_thought
from loratory.spaces.data import Learn, Thoughts
from loratory.spaces.errors import InputError

_PROBE_PROMPT, _PROBE_ANSWER = "loratoryquestion", "loratoryanswer"
_PROBE_TOOL, _PROBE_RESULT = "loratorytool", "loratoryresult"
_TOOLS_REMEDY = (
    "give a base whose chat template has a place for them, or write them into the text of the turns"
)


class ChatTemplate:
    """The tokenizer's own chat template.

    The prompt ends where the answer begins in a rendered conversation. For most templates this equals the
    text that `add_generation_prompt` gives. Some put an empty thought before answers (Qwen3), or open a
    thought only in the generation prompt (DeepSeek-R1); then the conversation decides, so that training
    and scoring read the same text.
    """

    style = PromptStyle.CHAT_TEMPLATE
    adds_special_tokens = False

    def __init__(self, tokenizer: Tokenizer, rules: RenderingRules | None = None) -> None:
        """Find out how the template writes a conversation.

        Raises:
            InputError: the template fails on a plain conversation, or leaves out turns of it.
        """
        self._rules = rules or RenderingRules()
        self._text = TemplateText(tokenizer, self._rules.date)
        self._eos = tokenizer.eos_token or ""
        self._specials = sorted(
            (str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True
        )
        before, self._tail = self._probe()
        opening = self._text([_plain("user", _PROBE_PROMPT)], add_generation_prompt=True)
        lead = before.removeprefix(opening)
        self._space = lead if before.startswith(opening) and not lead.strip() else ""
        usual = before == opening + self._space
        self.closing = self._closing()
        self._changes: Counter[str] = Counter()
        self._cut = 0
        self.description = "prompts: the tokenizer's chat template" + (
            "" if usual else " (its generation prompt differs from what stands before an answer)"
        )

    @property
    def date(self) -> str | None:
        """The date that prompts state, ISO 8601; None where they state none, or the clock's."""
        date = self._rules.date
        return date.date().isoformat() if self._text.dated and date is not None else None

    def render(self, row: Row) -> Rendered:
        """Render a row.

        Raises:
            RenderError: the template refuses the conversation, or rewrites its answer or its earlier turns.
        """
        check_marks(row, self._rules.learn)
        tools = json.loads(row.tools) if row.tools else None
        refusal: RefusedError | None = None
        for form in forms(self._messages(row), adapt=self._rules.adapt_turns):
            try:
                rendered = self._rendered(form, row, tools)
            except RefusedError as error:
                refusal = refusal or error
            else:
                self._changes.update(form.changes)
                return rendered
        self._check_support(row)
        raise refusal or RenderError("the chat template refuses it")

    def notes(self) -> tuple[str, ...]:
        """Return lines for the terminal on what was done to the rows rendered so far."""
        changes = ", ".join(f"{name} in {count:,} rows" for name, count in self._changes.items())
        lines = [f"the chat template refuses some turns as they are: {changes}"] if changes else []
        if self._cut:
            lines.append(
                f"the chat template cuts or rewrites the thoughts of {self._cut:,} answers; these rows were "
                "removed: data.thoughts keep learns them as the file has them, cut without their thoughts"
            )
        if self.date:
            lines.append(f"prompts state the date of the study's start: {self.date}")
        return tuple(lines)

    def _messages(self, row: Row) -> list[Message]:
        """Return the conversation of a row, the answer last."""
        messages = chat_messages(row.turns)
        count = sum(len(message.calls) for message in messages)
        calls = template_calls(row.answer_calls, first=count)
        whole = [*messages, Message(role="assistant", content=row.answer_text.strip(), calls=calls)]
        if self._rules.thoughts is not Thoughts.CUT:
            return whole
        return [
            replace(message, content=after_thought(message.content))
            if message.role == "assistant"
            else message
            for message in whole
        ]

    def _rendered(self, form: Form, row: Row, tools: list[Any] | None) -> Rendered:
        *prompt, answer = form.messages
        before = [message.fields for message in prompt]
        whole = self._text([*before, answer.fields], tools)
        if answer.calls:
            rendered = self._call(before, whole, answer, tools)
        else:
            rendered = self._answer(before, whole, answer.content, tools)
        self._check_held(rendered, prompt, row)
        if self._rules.learn is Learn.ALL:
            spans = find_learned(
                prompt,
                rendered.prompt,
                text=lambda messages: self._text([*messages, answer.fields], tools),
                space=self._space,
                ends=(self.closing + self._eos, self.closing, self._eos),
                keep_thoughts=self._rules.thoughts is Thoughts.KEEP,
            )
            return replace(rendered, learned=spans)
        return rendered

    def _answer(
        self, before: list[dict[str, Any]], whole: str, answer: str, tools: list[Any] | None
    ) -> Rendered:
        prompt = whole.removesuffix(self._space + answer + self._tail)
        if prompt == whole:
            return self._with_thought(before, answer, tools)
        # Some templates put end-of-sequence after a conversation without a generation prompt.
        if not any(
            prompt.startswith(self._text(before, tools, add_generation_prompt=asked))
            for asked in (True, False)
        ):
            raise RenderError("the chat template rewrites earlier turns when an answer follows")
        return Rendered(prompt, self._space + answer)

    def _with_thought(self, before: list[dict[str, Any]], answer: str, tools: list[Any] | None) -> Rendered:
        """Return a row whose answer the template rewrites, if that is for its thought and may be mended."""
        if not has_thought(answer):
            raise RenderError("the chat template rewrites the answer")
        if self._rules.thoughts is not Thoughts.KEEP:
            self._cut += 1
            raise RenderError(
                "the chat template rewrites the answer, which has a thought; data.thoughts: keep learns the "
                "answer as the file has it, cut learns it without the thought"
            )
        prompt = self._text(before, tools, add_generation_prompt=True)
        if prompt == self._text(before, tools):
            prompt = self._before(before, tools)
        begun = opened_thought(prompt)
        if begun and answer.startswith(begun):
            # The generation prompt has opened the thought already.
            answer = answer.removeprefix(begun)
            answer = answer.lstrip() if prompt != prompt.rstrip() else answer
        return Rendered(prompt, answer)

    def _call(
        self, before: list[dict[str, Any]], whole: str, answer: Message, tools: list[Any] | None
    ) -> Rendered:
        """Return a row that ends in a call: the answer is the call as the template writes it."""
        starts = [self._before(before, tools)]
        starts += [self._text(before, tools, add_generation_prompt=asked) for asked in (True, False)]
        prompt = next((start for start in starts if whole.startswith(start)), None)
        if prompt is None:
            raise RenderError("the chat template rewrites earlier turns when a call follows")
        written, closing = self._without_end(whole[len(prompt) :])
        left_out = missing(written, _parts(answer), [answer.content]) or missing(written, [answer.content])
        if left_out is not None:
            self._check_calls()
            raise RenderError(f"the chat template leaves {left_out[:60]!r} out of the call")
        return Rendered(prompt, written, closing)

    def _without_end(self, written: str) -> tuple[str, str | None]:
        """Return a written call without what ends the turn, and what ends it where that is not the usual."""
        if written.endswith(self._tail):
            return written.removesuffix(self._tail), None
        text = written.rstrip()
        text = text.removesuffix(self._eos).rstrip() if self._eos else text
        end = next((token for token in self._specials if text.endswith(token)), "")
        return text.removesuffix(end), end

    def _before(self, before: list[dict[str, Any]], tools: list[Any] | None) -> str:
        """Return the text before an answer without a thought and without calls."""
        whole = self._text([*before, _plain("assistant", _PROBE_ANSWER)], tools)
        return whole.removesuffix(self._space + _PROBE_ANSWER + self._tail)

    def _check_held(self, rendered: Rendered, prompt: Sequence[Message], row: Row) -> None:
        """Check that nothing of a row is left out.

        Raises:
            LeftOutError: the template has no place for tools or calls.
            RefusedError: it leaves out a system turn.
            RenderError: it leaves out something of this row.
        """
        text = rendered.prompt
        contents = [after_thought(message.content) for message in prompt]
        called = [part for message in prompt for part in _parts(message)]
        left_out = missing(text, tool_names(row.tools), [*contents, *called])
        if left_out is not None:
            self._check_support(row)  # without a place for calls, leaving out the tools alone is no remedy
            raise LeftOutError(
                f"the chat template leaves out the tools ({left_out}, ...): {_TOOLS_REMEDY}, or leave them "
                "out with data.columns: {tools: null}"
            )
        for place, message in enumerate(prompt):
            left_out = missing(text, _parts(message), contents)
            if left_out is not None:
                self._check_calls()
                raise RenderError(f"the chat template leaves {left_out[:60]!r} out of a call")
            others = [*contents[:place], *contents[place + 1 :]]
            if missing(text, contents[place : place + 1], others) is None:
                continue
            if message.role == "system":
                raise RefusedError("the chat template leaves out the system turn")
            if message.role == "tool":
                self._check_calls()
            raise RenderError(f"the chat template leaves out or rewrites a turn of the {message.role}")

    def _check_support(self, row: Row) -> None:
        """Check that a row was not refused because the template has no place for tools or calls at all."""
        if row.answer_calls or any(turn.calls or turn.role is Role.TOOL for turn in row.turns):
            self._check_calls()

    def _check_calls(self) -> None:
        if not self._has_calls:
            raise LeftOutError(
                f"the chat template has no place for tool calls and their results: {_TOOLS_REMEDY}"
            )

    @cached_property
    def _has_calls(self) -> bool:
        calls = json.dumps([{"name": _PROBE_TOOL, "arguments": {}}])
        turns = (
            Turn(Role.USER, _PROBE_PROMPT),
            Turn(Role.ASSISTANT, "", calls=calls),
            Turn(Role.TOOL, _PROBE_RESULT),
            Turn(Role.ASSISTANT, _PROBE_ANSWER),
        )
        try:
            text = self._text([message.fields for message in chat_messages(turns)])
        except RefusedError:
            return False
        return missing(text, (_PROBE_TOOL, _PROBE_RESULT)) is None

    def _probe(self) -> tuple[str, str]:
        try:
            whole = self._text([_plain("user", _PROBE_PROMPT), _plain("assistant", _PROBE_ANSWER)])
        except RefusedError as error:
            raise InputError(
                f"the tokenizer's chat template fails: {error.__cause__}; set data.prompt_template"
            ) from error
        before, found, tail = whole.rpartition(_PROBE_ANSWER)
        if not found or _PROBE_PROMPT not in before:
            raise InputError("the tokenizer's chat template leaves out turns; set data.prompt_template")
        return before, tail

    def _closing(self) -> str:
        """Return the text after an answer, up to end-of-sequence, which is added by its id."""
        eos = self._eos
        return self._tail.partition(eos)[0] if eos and eos in self._tail else self._tail.rstrip()


def _plain(role: str, content: str) -> dict[str, Any]:
    return Message(role=role, content=content).fields


def _parts(message: Message) -> list[str]:
    return call_parts([call["function"] for call in message.calls])
