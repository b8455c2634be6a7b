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

    def make(train, *, evaluation=None, **data):
        return StudySpec.model_validate(
            {
                "name": "data",
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

    def run(train, *, using=None, max_positions=None, **options):
        return prepare_data(make_study(train, **options), using or tokenizer, max_positions=max_positions)

    return run
