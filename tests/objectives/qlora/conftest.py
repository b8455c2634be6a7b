import hashlib
import json
import random
import sys
from pathlib import Path

import pytest
import torch

from loratory.objectives.data.prepared import Example, Examples, PreparedData
from loratory.objectives.events import Failed, Finished, Start, Stopped
from loratory.objectives.objective import Prepared
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.reference import base_sha256, resolve_base
from loratory.objectives.qlora.kind import QloraInput, build
from loratory.objectives.qlora.trial.arrivals import new_trial
from loratory.objectives.qlora.trial.trial import Selection
from loratory.objectives.stopping import NeverStop
from loratory.spaces.metric_names import Direction
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import TrialSpec, trial_key

# What several modules of tests share stands in modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

WORDS = [
    "red",
    "green",
    "blue",
    "one",
    "two",
    "three",
    "four",
    "cat",
    "dog",
    "bird",
    "fish",
    "stone",
    "river",
]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.decoders import ByteLevel
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<pad>", "</s>", *alphabet, *(f"Ġ{word}" for word in WORDS)]
    inner = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, [], unk_token=None))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory, tokenizer):
    """A function: architecture name to the folder of a tiny random model of it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made = {}

    def folder(kind="llama", **changes) -> Path:
        key = (kind, *sorted(changes.items()))
        if key not in made:
            config = AutoConfig.for_model(
                kind,
                **{
                    "vocab_size": len(tokenizer),
                    "hidden_size": 64,
                    "intermediate_size": 128,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "num_key_value_heads": 2,
                    "max_position_embeddings": 256,
                    "eos_token_id": tokenizer.eos_token_id,
                    "bos_token_id": None,
                    "initializer_range": 0.1,
                    **changes,
                },
            )
            torch.manual_seed(0)
            made[key] = tmp_path_factory.mktemp(kind)
            AutoModelForCausalLM.from_config(config).save_pretrained(made[key])
            tokenizer.save_pretrained(made[key])
        return made[key]

    return folder


@pytest.fixture(scope="session")
def multimodal_folder(tmp_path_factory, tokenizer):
    """A function: class of a multimodal model to the folder of a tiny random one, with a tower for images."""
    import transformers

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "initializer_range": 0.1,
    }
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    kinds = {
        "Gemma3": {"text_config": text | {"sliding_window": 16}, "mm_tokens_per_image": 4},
        "Mistral3": {"text_config": text | {"model_type": "mistral"}},
    }
    made = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            config = getattr(transformers, f"{kind}Config")(
                vision_config=tower, image_token_index=len(tokenizer) - 1, **kinds[kind]
            )
            torch.manual_seed(0)
            made[kind] = tmp_path_factory.mktemp(kind)
            getattr(transformers, f"{kind}ForConditionalGeneration")(config).save_pretrained(made[kind])
            tokenizer.save_pretrained(made[kind])
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def make_examples(tokenizer):
    """A function: count and seed to examples whose answer repeats a word of the prompt, or is a label."""

    def make(count, seed=0, *, labels=False) -> Examples:
        draw = random.Random(seed)
        examples = []
        for index in range(count):
            words = draw.choices(WORDS, k=draw.randint(1, 12))
            prompt = "say " + " ".join(words) + ":"
            answer = ("E" if len(words) % 2 == 0 else "O") if labels else " ".join(words[:3])
            examples.append(
                Example(
                    example_id=f"{seed}-{index}",
                    group=words[0],
                    prompt=prompt,
                    reference=answer,
                    prompt_ids=tuple(tokenizer(prompt)["input_ids"]),
                    answer_ids=(*tokenizer(answer)["input_ids"], tokenizer.eos_token_id),
                )
            )
        return Examples.of(examples)

    return make


@pytest.fixture(scope="session")
def data(make_examples):
    examples = {"train": 24, "dev": 6, "select": 8, "test": 4}
    splits = {name: make_examples(count, seed) for seed, (name, count) in enumerate(examples.items())}
    return PreparedData(**splits, labels=(), sha256=hashlib.sha256(b"fixed").hexdigest())


@pytest.fixture(scope="session")
def make_study(base_folder):
    """A function: keys of the study file, by section, to a study on a tiny Llama."""

    def make(*, model=None, evaluation=None, training=None, data=None, **changes) -> StudySpec:
        fixed = {"learning_rate": 1e-2, "batch_size": 8, "epochs": 2.0, "rank": 4, "dropout": 0.1}
        fixed |= training or {}
        space = changes.pop("space", {"weight_decay": [0.0, 0.1]})
        return StudySpec.model_validate(
            {
                "name": "tiny",
                "space": space,
                "metric": "loss",
                "training": {key: value for key, value in fixed.items() if key not in space},
                "model": {"base": str(base_folder())} | (model or {}),
                "data": {"train": "unused.jsonl", "max_length": 200} | (data or {}),
                "evaluation": {"evaluations": 3, "dev_examples": 6, "max_new_tokens": 6, "metrics": ["loss"]}
                | (evaluation or {}),
                **changes,
            }
        )

    return make


@pytest.fixture(scope="session")
def make_prepared(data):
    """A function: a study to what `prepare` would give, on the data of these tests."""

    def make(study, examples=None) -> Prepared:
        reference = resolve_base(study.model)
        hashes = {"base": base_sha256(reference), "data": data.sha256}
        return Prepared(payload=QloraInput(data=examples or data, reference=reference), hashes=hashes)

    return make


@pytest.fixture(scope="session")
def make_objective(make_prepared):
    """A function: a study to its objective, built and greeted."""

    def make(study, examples=None):
        return build(study, make_prepared(study, examples))

    return make


@pytest.fixture(scope="session")
def make_trial():
    """A function: a study and changed hyperparameters to a trial."""

    def make(study, number=0, *, attempt=1, seed=7, **training) -> TrialSpec:
        resolved = study.training.model_copy(update=training)
        return TrialSpec(
            key=trial_key(number), number=number, attempt=attempt, seed=seed, params={}, training=resolved
        )

    return make


_NEVER_STOP = NeverStop()


@pytest.fixture(scope="session")
def make_run(make_study, make_trial, data):
    """A function: changed hyperparameters to a trial as a worker has it, before its slot."""
    study = make_study()
    architecture = read_architecture(resolve_base(study.model))

    def make(*, checkpoint=None, evaluations=3, rule=_NEVER_STOP, direction=Direction.MINIMIZE, **training):
        start = Start(trial=make_trial(study, **training), checkpoint=checkpoint)
        selection = Selection(metric="loss", direction=direction, rule=rule)
        given = {"architecture": architecture, "train_examples": len(data.train)}
        return new_trial(start, selection=selection, evaluations=evaluations, **given)

    return make


@pytest.fixture(scope="session")
def drive():
    """A function: run one trial to its end as a driver would; its events in order."""

    def run(objective, trial, *, checkpoint=None, until=lambda event: False):
        events = list(objective.advance([Start(trial=trial, checkpoint=checkpoint)]))
        for _ in range(1000):
            if (events and isinstance(events[-1], Finished | Failed | Stopped)) or any(map(until, events)):
                return events
            events += objective.advance([])
        raise AssertionError("the trial did not end")

    return run


@pytest.fixture(scope="session")
def adapter_folder(tmp_path_factory):
    """A function: adapter files to a folder that holds them."""

    def write(files) -> Path:
        folder = tmp_path_factory.mktemp("adapter")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        assert json.loads((folder / "adapter_config.json").read_text())
        return folder

    return write
