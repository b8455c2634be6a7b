"""Conversations as text by a tokenizer's chat template, on a fixed date."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from loratory.objectives.data.rendered import RefusedError, Tokenizer

_CODES = "aAbBcdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ"

# Defined before the template, it hides transformers' function of this name, which reads the clock. A function
# cannot be passed instead: transformers 5.23 turns whatever is no JSON into text. The line break after the
# macro is removed with it, so that the template itself is rendered as it stands.
_DATED = """\
{%- macro strftime_now(format) -%}
{%- set written = namespace(text=format) -%}
{%- for code, value in loratory_date.items() -%}
{%- set written.text = written.text.replace(code, value) -%}
{%- endfor -%}
{{- written.text -}}
{%- endmacro %}
"""


class TemplateText:
    """Renders messages with a tokenizer's chat template.

    Attributes:
        dated: whether the template states the date.
    """

    def __init__(self, tokenizer: Tokenizer, date: datetime | None) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: has a chat template.
            date: the date that `strftime_now` of the template gives; None takes the clock's.
        """
        self._tokenizer = tokenizer
        self.dated = "strftime_now" in str(tokenizer.chat_template)
        self._dates = date_codes(date) if self.dated and date is not None else None
        self._templates: dict[bool, str] = {}

    def __call__(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: list[Any] | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """Return a conversation as text.

        Raises:
            RefusedError: the template fails or refuses the conversation.
        """
        from jinja2 import TemplateError

        options: dict[str, Any] = {} if tools is None else {"tools": tools}
        try:
            if self._dates is not None:
                options |= {"chat_template": self._dated(tools), "loratory_date": self._dates}
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, **options
            )
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise RefusedError(f"the chat template refuses it: {error}") from error
        return text

    def _dated(self, tools: list[Any] | None) -> str:
        """Return the template with the date fixed; a tokenizer may have another template for tools."""
        key = tools is not None
        if key not in self._templates:
            self._templates[key] = _DATED + self._tokenizer.get_chat_template(None, tools)
        return self._templates[key]


def date_codes(date: datetime) -> dict[str, str]:
    """Return what `strftime` gives for each of its codes, in an order in which they can be replaced."""
    codes = [f"%{code}" for code in _CODES]
    unpadded = [f"%-{code}" for code in "dHIjmMSyUW"]
    written = {code: date.strftime(code) for code in [*unpadded, *codes]}
    return {"%%": "\0", **written, "\0": "%"}
