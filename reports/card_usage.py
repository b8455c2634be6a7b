"""The part of a model card that says how to load the base as it was scored, and how to prompt it."""

import re
from dataclasses import dataclass

from loratory.objectives.data.rendering import PromptStyle
from loratory.objectives.qlora.base.formats import format_of
from loratory.spaces.model import ComputeDtype, ModelSpec

DEFAULT_CLASS = "AutoModelForCausalLM"
"""The class of transformers that loads a base of text alone."""

_DTYPES = {
    ComputeDtype.AUTO: "bfloat16",
    ComputeDtype.BF16: "bfloat16",
    ComputeDtype.FP16: "float16",
    ComputeDtype.FP32: "float32",
}
_SECTIONS = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
_RULES = {
    PromptStyle.CHAT_TEMPLATE: "Prompts are conversations in the tokenizer's chat template, up to where an "
    "answer begins.",
    PromptStyle.SECTIONS: "Prompts are sections; the one of the input is left out where there is none:",
    PromptStyle.TEMPLATE: "Prompts are this text with the fields filled in:",
    PromptStyle.AS_WRITTEN: "Prompts are plain text, as the training data has them, with nothing added.",
    None: "Prompts are conversations in the tokenizer's chat template, or sections where it has none:",
}
_ENCODE = 'inputs = tokenizer(text, return_tensors="pt").to(model.device)'
_PLAIN = f'text = "..."  # a prompt as above\n{_ENCODE}'
_TEXTS = {
    PromptStyle.SECTIONS: f'text = "### Instruction:\\n...\\n\\n### Response:\\n"\n{_ENCODE}',
    PromptStyle.CHAT_TEMPLATE: """text = tokenizer.apply_chat_template(
    [{"role": "user", "content": "..."}], tokenize=False, add_generation_prompt=True
)
inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)""",
}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How the adapter was scored, and so how to use it.

    Attributes:
        style: how prompts were made; None where it is not known.
        prompt_template: the study's own, where it has one.
        max_new_tokens: longest answer that was decoded.
        model: the base's format and precision.
        compute_dtype: number format that the adapter was trained and scored in; None where it is not known.
        model_class: name of transformers' class that loads the base.
        prompt_date: the date that prompts state, ISO 8601; None where they state none.
        kept_tokens: special tokens that are part of answers.
        score_thoughts: whether metrics of texts saw the thoughts in answers.
    """

    style: PromptStyle | None
    prompt_template: str | None
    max_new_tokens: int
    model: ModelSpec
    compute_dtype: str | None = None
    model_class: str = DEFAULT_CLASS
    prompt_date: str | None = None
    kept_tokens: tuple[str, ...] = ()
    score_thoughts: bool = True


def usage_section(usage: Usage, *, repo_id: str, base_id: str, base_revision: str | None) -> str:
    """Markdown: code that loads and prompts, and the form of a prompt.

    Args:
        usage: how it was scored.
        repo_id: where the adapter is published.
        base_id: the base's Hub id.
        base_revision: its commit, where it is known.
    """
    options = f", revision={base_revision!r}" if base_revision else ""
    options += ", trust_remote_code=True" if usage.model.trust_remote_code else ""
    dtype = f"torch.{_DTYPES[usage.model.compute_dtype]}"
    auto = "  # float16 on a GPU without it, float32 on a CPU" if usage.model.compute_dtype == "auto" else ""
    base_format = format_of(usage.model.quantization)
    code = base_format.loading_code(usage.model)
    return f"""{_prompts(usage)}

```python
import torch
from peft import PeftModel
from transformers import {", ".join(sorted((usage.model_class, "AutoTokenizer", *code.imports)))}

dtype = {dtype}{auto}
{code.setup}base = {usage.model_class}.from_pretrained(
    {base_id!r}{options}, {code.argument}dtype=dtype, device_map="auto"
)
tokenizer = AutoTokenizer.from_pretrained({base_id!r}{options})
model = PeftModel.from_pretrained(base, {repo_id!r})

{_TEXTS.get(usage.style, _PLAIN) if usage.style else _PLAIN}
output = model.generate(
    **inputs, max_new_tokens={usage.max_new_tokens}, do_sample=False, repetition_penalty=1.0
)
{_answer(usage)}
```

{base_format.words.scored_on} {
        _computed_in(usage)
    }Answers were decoded greedily, up to the end-of-sequence token or {usage.max_new_tokens} new
tokens.{_scored(usage)}"""


def _answer(usage: Usage) -> str:
    """Return code that turns the output into the text that was scored."""
    if not usage.kept_tokens:
        return (
            'answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], '
            "skip_special_tokens=True).strip()"
        )
    return f"""\
kept = {set_of(usage.kept_tokens)}  # special tokens that are part of answers
left_out = {{i for i, t in tokenizer.added_tokens_decoder.items() if t.special and str(t) not in kept}}
ids = [i for i in output[0, inputs["input_ids"].shape[1] :].tolist() if i not in left_out]
answer = tokenizer.decode(ids).strip()"""


def set_of(texts: tuple[str, ...]) -> str:
    """Return Python code of a set of texts, in their order."""
    return "{" + ", ".join(map(repr, texts)) + "}"


def _scored(usage: Usage) -> str:
    if usage.score_thoughts:
        return ""
    return " Metrics of texts were computed on what follows the thought in an answer (`</think>`)."


def _computed_in(usage: Usage) -> str:
    return f"Its numbers were computed in {usage.compute_dtype}. " if usage.compute_dtype else ""


def _prompts(usage: Usage) -> str:
    rule = _RULES[usage.style]
    if usage.prompt_date is not None:
        rule += (
            f" The template states the date. Training and scoring stated that of the study's start, "
            f"{usage.prompt_date}; transformers' own function states today's."
        )
    if not rule.endswith(":"):
        return rule
    text = usage.prompt_template if usage.style is PromptStyle.TEMPLATE else _SECTIONS
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text or "") or [""]))
    return f"{rule}\n\n{fence}text\n{text}\n{fence}"
