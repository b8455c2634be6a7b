"""A whole study with every real part: Ray, Optuna, nf4 QLoRA, W&B offline, report, publication."""

import io
import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from loratory.objectives.events import Split
from loratory.objectives.objective import Beginning, objective_kind
from loratory.objectives.qlora.verification.adapter_scores import score_adapter
from loratory.objectives.quickstart import base_folder
from loratory.objectives.scores import ScoreTable, predictions_from_bytes
from loratory.objectives.study_folder import BASE, TEST_BASE, TEST_WINNER
from loratory.search import StudyResult, run_study
from loratory.search.commands.publish import publish_adapter
from loratory.spaces import LoratoryError, StudySpec

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _rows(start: int, count: int) -> str:
    rows = [
        {"prompt": f"def {LETTERS[n % 26]}_{n}(x): return x + {n}", "completion": f"Add {n} to x."}
        for n in range(start, start + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("study")
    for name, start, count in (("train", 0, 48), ("eval", 100, 24), ("test", 200, 10)):
        (folder / f"{name}.jsonl").write_text(_rows(start, count))
    study = StudySpec.model_validate(
        {
            "name": "whole",
            "metric": "chrf",
            "trials": 4,
            "space": {"learning_rate": [1e-3, 5e-3, 1.0], "rank": {"type": "int", "low": 4, "high": 8}},
            "training": {"epochs": 2, "batch_size": 8},
            "model": {"base": "builtin:quickstart"},
            "data": {name: str(folder / f"{name}.jsonl") for name in ("train", "eval", "test")}
            | {"max_length": 64},
            "evaluation": {"evaluations": 2, "dev_examples": 8, "max_new_tokens": 8},
            "sampler": "grid",
            "pruner": "none",
            "early_stopping_patience": 2,
        }
    )
    return run_study(study, runs=folder / "runs")


@pytest.fixture(scope="module")
def complete(result: StudyResult) -> list:
    records = [record for record in result.folder.read_records() if record.state == "COMPLETE"]
    assert len(records) >= 2
    return records


def test_the_result_is_the_best_trial(result, complete):
    assert result.best is not None and result.best.values is not None
    assert result.best.values[0] == max(record.values[0] for record in complete) == result.metrics["chrf"]
    assert result.adapter is not None
    assert {path.name for path in result.adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    base = result.folder.read_score(BASE)
    assert base is not None and base.metrics["chrf"] < result.metrics["chrf"], "tuning taught nothing"
    assert not result.interrupted


def test_every_kept_adapter_reproduces_its_recorded_scores_by_plain_peft(result, complete):
    manifest = result.folder.read_manifest()
    prepared = objective_kind(manifest.spec.objective).prepare(manifest.spec, Beginning.now())
    assert prepared.hashes == manifest.hashes
    for record in complete:
        table = score_adapter(manifest.spec, prepared, result.folder.adapter(record.key), Split.SELECT)
        assert table.aggregate == pytest.approx(record.metrics, rel=1e-6), record.number


def test_scores_and_predictions_of_every_example_are_kept(result, complete):
    for record in complete:
        folder = result.folder.trial(record.key)
        table = ScoreTable.from_bytes((folder / "scores.npz").read_bytes())
        predictions = predictions_from_bytes((folder / "predictions.jsonl").read_bytes())
        assert [p.example_id for p in predictions] == list(table.example_ids)
        assert len(table.example_ids) == 16
        assert table.aggregate == record.metrics
        assert table.metrics["rougeL"].mean() == pytest.approx(record.metrics["rougeL"])


def test_the_test_split_is_scored_once_for_winner_and_base(result):
    winner = result.folder.read_score(TEST_WINNER)
    base = result.folder.read_score(TEST_BASE)
    assert winner is not None and base is not None and result.best is not None
    assert (winner.number, winner.split, base.number, base.split) == (
        result.best.number,
        "test",
        None,
        "test",
    )


def test_every_trial_has_one_offline_run(result):
    runs = sorted(path.name for path in (result.folder.path / "wandb").glob("offline-run-*"))
    records = result.folder.read_records()
    assert len(runs) == len(records)
    uuid = records[0].study.replace("-", "")
    assert sorted(name.split("-", 3)[3] for name in runs) == [f"{uuid}-{r.number:04d}" for r in records]
    assert any("wandb sync" in note for note in result.notes)


def test_running_it_again_changes_nothing(result):
    def contents() -> dict[Path, bytes]:
        paths = result.folder.path.glob("trials/*/*.json*")
        return {path: path.read_bytes() for path in paths}

    before = contents()
    again = run_study(result.folder.read_manifest().spec, runs=result.folder.path.parent)
    assert contents() == before
    assert again.metrics == result.metrics


def test_the_published_adapter_answers_in_plain_peft_and_in_a_pipeline(result):
    base_id = "someone/loratory-quickstart-base"
    console = Console(file=io.StringIO(), width=200)
    publish_adapter(result.folder, console, repo="someone/adapter", base_id=base_id, verify=True)
    assert f"whether {base_id} is the base that the adapter was trained on is not checked" in _said(console)
    staged = result.folder.path / "publish"
    assert str(result.folder.path) not in (staged / "README.md").read_text()
    assert json.loads((staged / "adapter_config.json").read_text())["base_model_name_or_path"] == base_id
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    base = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, staged)
    inputs = tokenizer("def a_1(x): return x + 1", return_tensors="pt")
    with tuned.disable_adapter():
        untuned_logits = tuned(**inputs).logits
    assert not torch.allclose(tuned(**inputs).logits, untuned_logits)
    answer = pipeline("text-generation", model=tuned, tokenizer=tokenizer)(
        "def a_1(x): return x + 1", max_new_tokens=8
    )
    assert len(answer[0]["generated_text"]) > len("def a_1(x): return x + 1")


def test_a_card_that_overstates_fails_verification(result):
    publish_adapter(result.folder, Console(quiet=True), repo="someone/adapter", base_id="someone/base")
    card = result.folder.path / "publish" / "README.md"
    honest = result.metrics["chrf"]
    card.write_text(card.read_text().replace(f"{honest}", f"{honest + 1}"))
    from loratory.search.commands.publish import verify_scores

    with pytest.raises(LoratoryError, match="chrf: the card states"):
        verify_scores(result.folder, card.parent, Console(quiet=True), key=result.best.key)
