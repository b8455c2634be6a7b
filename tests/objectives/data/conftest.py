import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from loratory.spaces.study import StudySpec

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "<{{ 'model' if m.role == 'assistant' else m.role }}>{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)
NO_SYSTEM_IN_SILENCE = (
    "{% for m in messages %}{% if m.role != 'system' %}<{{ m.role }}>{{ m.content }}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
DATED = (
    "\n  {%- if not date_string is defined %}\n"
    "    {%- if strftime_now is defined %}\n      {%- set date_string = strftime_now('%d %b %Y') %}\n"
    "    {%- else %}\n      {%- set date_string = '26 Jul 2024' %}\n    {%- endif %}\n  {%- endif %}\n"
    "<system>Today Date: {{ date_string }}\n"
    "{% for m in messages %}\n<{{ m.role }}>{{ m.content }}<|im_end|>\n{% endfor %}\n"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CUTS_THOUGHTS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "<assistant>{{ m.content.split('</think>')[-1] }}{{ eos_token }}"
    "{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)
# Qwen3's: thoughts of earlier answers are cut, that of the last is written in its own form.
WRITES_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set parts = m.content.split('</think>') %}"
    "{% if loop.last %}<think>\n{{ parts[0].replace('<think>', '').strip('\n') if parts | length > 1 }}\n"
    "</think>\n\n{% endif %}{{ parts[-1].lstrip('\n') }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Qwen's and Hermes': tools in the system turn, each call as JSON between two marks.
TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ '\n' }}<tool_call>\n"
    "{{ call.function | tojson }}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Llama's: one call alone, which ends in a token of its own; results are written as JSON.
ONE_CALL = (
    "{% if tools %}<system>{{ tools | tojson }}</s>{% endif %}{% for m in messages %}"
    "{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls') }}"
    "{% endif %}<assistant>{{ m.tool_calls[0].function | tojson }}<|im_end|>"
    "{% elif m.role == 'tool' %}<ipython>{{ m.content | tojson }}</s>"
    "{% else %}<{{ m.role }}>{{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# Mistral's: each result must name the call that it answers, by an id of nine characters.
CALL_IDS = (
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}"
    "[{{ m.name }} {{ m.tool_call_id }}]{{ m.content }}</s>"
    "{% else %}<{{ m.role }}>{{ m.content }}"
    "{% for call in m.tool_calls or [] %}({{ call.id }} {{ call.function | tojson }}){% endfor %}"
    "</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
TEMPLATES = {
    "CHATML": CHATML,
    "STRICT": STRICT,
    "NO_SYSTEM_IN_SILENCE": NO_SYSTEM_IN_SILENCE,
    "DATED": DATED,
    "CUTS_THOUGHTS": CUTS_THOUGHTS,
    "WRITES_THOUGHTS": WRITES_THOUGHTS,
    "TOOLS": TOOLS,
    "ONE_CALL": ONE_CALL,
    "CALL_IDS": CALL_IDS,
}
TOPICS = ("river", "engine", "garden", "market", "planet", "violin", "bridge", "harbour", "forest", "ledger")
VERBS = ("describe", "compare", "measure", "repair", "imagine", "inspect", "summarise", "question")


def _train(*, adds_bos):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([f"please {v} the {t} for me" for t in TOPICS for v in VERBS], trainer)
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return core


@pytest.fixture(scope="session")
def make_tokenizer():
    """A tiny byte-level tokenizer; `adds_bos` makes it open and close every text with special tokens."""

    def make(chat_template=None, *, adds_bos=False, eos="</s>", **options):
        return PreTrainedTokenizerFast(
            tokenizer_object=_train(adds_bos=adds_bos),
            bos_token="<s>",
            eos_token=eos,
            additional_special_tokens=["<|im_start|>", "<|im_end|>"],
            chat_template=chat_template,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer):
    return make_tokenizer()


@pytest.fixture(scope="session")
def chat_tokenizer(make_tokenizer):
    return make_tokenizer(CHATML, eos="<|im_end|>")


@pytest.fixture(scope="session")
def templates():
    """Chat templates in the shapes that well-known models have, by name."""
    return TEMPLATES


@pytest.fixture(scope="session")
def alpaca_rows():
    """Distinct rows of four groups: `rows(60)`, `rows(20, start=60)`."""

    def rows(count, *, start=0, groups=0):
        made = []
        for n in range(start, start + count):
            verb, topic = VERBS[n % len(VERBS)], TOPICS[n // len(VERBS) % len(TOPICS)]
            row = {
                "instruction": f"Please {verb} the {topic} number {n}.",
                "input": "",
                "output": f"The {topic} {n} was easy to {verb}, took {n % 13} days, and cost {n * n} coins.",
            }
            made.append({**row, "group": f"g{n % groups}"} if groups else row)
        return made

    return rows


@pytest.fixture
def write_jsonl(tmp_path):
    def write(rows, name="train.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="session")
def make_study():
    """A study over some data: `make_study(train, evaluation={...}, eval=...)`."""

    def make(train, *, evaluation=None, metric="rougeL", **data):
        return StudySpec.model_validate(
            {
                "name": "data",
                "metric": metric,
                "space": {"rank": [4, 8]},
                "model": {"base": "tiny"},
                "data": {
                    "train": str(Path(train)) if isinstance(train, Path) else train,
                    "eval_fraction": 0.1,
                }
                | data,
                "evaluation": {"dev_examples": 2, **(evaluation or {})},
            }
        )

    return make


@pytest.fixture
def prepare(make_study, tokenizer):
    """Prepare data with the plain tokenizer, or with another one."""
    from loratory.objectives.data.preparation import prepare_data

    def run(train, *, using=None, max_positions=None, created_at=None, **options):
        study = make_study(train, **options)
        limits = {"max_positions": max_positions, "created_at": created_at}
        return prepare_data(study, using or tokenizer, **limits)

    return run
