"""examples/reproduce_trial.py gives a trial's losses with plain transformers, PEFT and bitsandbytes."""

import ast
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
)

from loratory.objectives.quickstart import base_folder
from loratory.search import StudyResult, run_study
from loratory.spaces import StudySpec

SCRIPT = Path(__file__).parents[1] / "examples" / "reproduce_trial.py"
FAMILIES = {
    "llama": {"num_key_value_heads": 2},
    "gpt_neox": {"rotary_pct": 0.25, "use_parallel_residual": True},
}
UPDATES = 40


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reproduce_trial", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce_trial"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reproduce_trial"]


def write_rows(path: Path, count: int, seed: int) -> str:
    draw = random.Random(seed)
    words = [
        draw.choices(["red", "cat", "river", "stone", "two"], k=draw.randint(2, 9)) for _ in range(count)
    ]
    rows = [
        {"prompt": f"row {seed} {n} say {' '.join(some)}", "completion": " ".join(some[:3])}
        for n, some in enumerate(words)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make_base(folder: Path, family: str) -> str:
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **sizes,
        **FAMILIES[family],
    )
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_multimodal_base(folder: Path) -> str:
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {"model_type": "mistral", "vocab_size": len(tokenizer), "initializer_range": 0.1} | sizes
    text |= {"head_dim": 16, "num_key_value_heads": 2, "eos_token_id": tokenizer.eos_token_id}
    tower = sizes | {"image_size": 28, "patch_size": 14}
    config = Mistral3Config(text_config=text, vision_config=tower, image_token_index=len(tokenizer) - 1)
    torch.manual_seed(1)
    Mistral3ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def run(folder: Path, base: str, *, epochs: float) -> StudyResult:
    """Run two trials, one with each schedule; the last batch of the schedule is a small one."""
    study = StudySpec.model_validate(
        {
            "name": "study",
            "metric": "loss",
            "trials": 2,
            "space": {"schedule": ["cosine", "linear"]},
            "training": {
                "learning_rate": 1e-2,
                "batch_size": 4,
                "epochs": epochs,
                "rank": 4,
                "dropout": 0,
                "warmup": 0.1,
                "weight_decay": 0.1,
                "max_grad_norm": 0.5,
                "optimizer": "lora_plus",
                "lora_plus_ratio": 4,
            },
            "model": {"base": base},
            "data": {
                "train": write_rows(folder / "train.jsonl", 40, 0),
                "eval": write_rows(folder / "eval.jsonl", 8, 1),
                "max_length": 64,
                "cleaning": {"near_duplicate_threshold": None},
            },
            "evaluation": {"evaluations": 1, "dev_examples": 4, "metrics": ["loss"], "max_new_tokens": 1},
            "packing": {"slots": 2},
            "sampler": "grid",
            "pruner": "none",
            "tracking": {"wandb": {"mode": "off"}},
        }
    )
    return run_study(study, runs=folder / "runs", local=True)


@pytest.fixture(scope="module", params=FAMILIES)
def result(request, tmp_path_factory) -> StudyResult:
    """Two trials of 40 updates."""
    folder = tmp_path_factory.mktemp(request.param)
    return run(folder, make_base(folder / "base", request.param), epochs=3.95)


def test_losses_of_a_trial_are_those_of_plain_transformers_and_peft(result, script, capsys):
    records = result.folder.read_records()
    assert {record.schedule for record in records} == {"cosine", "linear"}
    for record in records:
        assert (record.optimizer_steps, record.warmup_steps, record.state) == (UPDATES, 4, "COMPLETE")
        assert record.resources.pack_size == 2
        pairs = script.reproduce(result.folder.path, record.key)
        assert len(pairs) == UPDATES
        ours, theirs = zip(*pairs, strict=True)
        assert ours == pytest.approx(theirs, abs=1e-5, rel=0)
        assert min(ours) < ours[0] - 0.5, "it learned"
    assert capsys.readouterr().out.count("largest difference of 40 losses") == 2


def test_a_multimodal_release_is_loaded_as_the_class_that_its_adapter_names(script, tmp_path):
    result = run(tmp_path, make_multimodal_base(tmp_path / "base"), epochs=0.55)
    for record in result.folder.read_records():
        pairs = script.reproduce(result.folder.path, record.key)
        assert len(pairs) == 6
        assert [ours for ours, _ in pairs] == pytest.approx([theirs for _, theirs in pairs], abs=1e-5, rel=0)


def test_the_script_imports_no_training_code():
    tree = ast.parse(SCRIPT.read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "loratory.objectives.study_folder" in modules
    training = ("loratory.objectives.packing", "loratory.objectives.qlora")
    assert not [name for name in modules if name.startswith(training)]
