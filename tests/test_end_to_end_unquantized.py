"""A whole study on an unquantised base, with LoRA+ and rsLoRA, up to a verified publication."""

import io
import json

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from transformers import AutoModelForCausalLM

from loratory.objectives.quickstart import base_folder
from loratory.search import StudyResult, run_study
from loratory.search.commands.publish import publish_adapter
from loratory.spaces import StudySpec


def _rows(start: int, count: int) -> str:
    rows = [
        {"prompt": f"def f_{n}(x): return x + {n}", "completion": f"Add {n} to x."}
        for n in range(start, start + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, console: Console) -> StudyResult:
    folder = tmp_path_factory.mktemp("study")
    for name, start, count in (("train", 0, 32), ("eval", 100, 16)):
        (folder / f"{name}.jsonl").write_text(_rows(start, count))
    study = StudySpec.model_validate(
        {
            "name": "unquantized",
            "metric": "chrf",
            "trials": 2,
            "space": {"optimizer": ["adamw", "lora_plus"]},
            "training": {
                "epochs": 2,
                "batch_size": 8,
                "rank": 4,
                "learning_rate": 2e-3,
                "lora_plus_ratio": 4,
                "rank_stabilized": True,
            },
            "model": {"base": "builtin:quickstart", "quantization": "none"},
            "packing": {"slots": 2},
            "data": {name: str(folder / f"{name}.jsonl") for name in ("train", "eval")} | {"max_length": 64},
            "evaluation": {"evaluations": 2, "dev_examples": 8, "max_new_tokens": 8},
            "sampler": "grid",
            "pruner": "none",
        }
    )
    return run_study(study, runs=folder / "runs", local=True, console=console)


def _said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_trials_train_with_either_optimiser_and_none_holds_the_base_twice(
    result: StudyResult, console: Console
) -> None:
    records = result.folder.read_records()
    assert {record.params["optimizer"]: record.state for record in records} == {
        "adamw": "COMPLETE",
        "lora_plus": "COMPLETE",
    }
    assert all(record.resources.pack_size == 2 for record in records)
    assert "bitsandbytes" not in records[0].provenance.versions
    assert "base not quantised, in float32" in _said(console)
    first, second = (result.folder.read_curve(record.key)[-1].loss for record in records)
    assert first != second


def test_running_it_again_with_what_the_folder_says_changes_nothing(result: StudyResult) -> None:
    spec = result.folder.read_manifest().spec
    assert spec.model is not None and spec.model.quantization == "none"
    again = run_study(spec, runs=result.folder.path.parent, local=True)
    assert again.metrics == result.metrics


def test_the_published_adapter_is_verified_and_loads_as_its_card_says(result: StudyResult) -> None:
    said = Console(file=io.StringIO(), width=200)
    publish_adapter(result.folder, said, repo="someone/adapter", base_id="someone/base", verify=True)
    assert "verified on eval.select" in _said(said)
    staged = result.folder.path / "publish"
    card = (staged / "README.md").read_text()
    assert "trained with LoRA on the unquantised base" in card and "nf4" not in card
    assert json.loads((staged / "adapter_config.json").read_text())["use_rslora"]
    base = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32)
    ids = torch.arange(20, 40).view(1, 20)
    untuned = base(ids).logits
    tuned = PeftModel.from_pretrained(base, staged)
    assert not torch.allclose(tuned(ids).logits, untuned)
