"""A study whose template states the date and whose answers hold special tokens, on two days."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from loratory.objectives import objective
from loratory.objectives.quickstart import base_folder
from loratory.objectives.scores import predictions_from_bytes
from loratory.objectives.study_folder import BASE
from loratory.search import run_study
from loratory.search.commands.publish import publish_adapter
from loratory.spaces import StudySpec

TEMPLATE = (
    "Today: {{ strftime_now('%d %b %Y') }}\n"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FIRST_DAY = datetime(2026, 3, 5, 23, 59, tzinfo=UTC)


def _set_clock(monkeypatch: pytest.MonkeyPatch, date: datetime) -> None:
    clock = SimpleNamespace(now=lambda *_: date, fromisoformat=datetime.fromisoformat)
    monkeypatch.setattr(objective, "datetime", clock)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", clock)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s_a>", "</s_a>"]})
    tokenizer.chat_template = TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(base_folder())
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    # The new token is likelier than the one with which the base begins, so that answers begin with it.
    prompt = [{"role": "user", "content": "Add 1 to x of 7."}]
    ids = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.no_grad():
        likeliest = model(ids).logits[0, -1].argmax()
        head = model.get_output_embeddings().weight
        head[tokenizer.convert_tokens_to_ids("<s_a>")] = 1.5 * head[likeliest]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_dated_study_goes_on_a_day_later_and_verifies(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"instruction": f"Add {n} to x of {n * 7 % 31}.", "output": f"<s_a>add {n}</s_a>"} for n in range(36)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {
        "name": "dated",
        "metric": "chrf",
        "trials": 1,
        "space": {"learning_rate": [1e-3]},
        "training": {"epochs": 2, "batch_size": 8, "rank": 8},
        "model": {"base": str(base), "quantization": "none"},
        "data": {
            "train": str(tmp_path / "train.jsonl"),
            "max_length": 128,
            "eval_fraction": 0.3,
            "cleaning": {"near_duplicate_threshold": None},
        },
        "evaluation": {"evaluations": 1, "dev_examples": 3, "max_new_tokens": 12},
        "pruner": "none",
        "tracking": {"wandb": {"mode": "off"}},
    }
    _set_clock(monkeypatch, FIRST_DAY)
    console = Console(file=io.StringIO(), width=200)
    run_study(StudySpec.model_validate(fields), runs=tmp_path / "runs", local=True, console=console)
    _set_clock(monkeypatch, FIRST_DAY + timedelta(days=1))
    study = StudySpec.model_validate({**fields, "trials": 2, "sampler": "random"})
    result = run_study(study, runs=tmp_path / "runs", local=True, console=console)
    records = result.folder.read_records()
    assert [record.state for record in records] == ["COMPLETE", "COMPLETE"]
    assert {record.provenance.study_created_at for record in records} == {FIRST_DAY.isoformat()}
    written = []
    for folder in (result.folder.score(BASE), *(result.folder.trial(record.key) for record in records)):
        predictions = predictions_from_bytes((folder / "predictions.jsonl").read_bytes())
        assert all("Today: 05 Mar 2026" in prediction.prompt for prediction in predictions)
        assert all(prediction.reference.startswith("<s_a>add") for prediction in predictions)
        written += [prediction.prediction for prediction in predictions]
    assert any("<s_a>" in text for text in written), written[::5]
    publish_adapter(result.folder, console, repo="someone/dated", base_id="someone/base", verify=True)
    card = (result.folder.path / "publish" / "README.md").read_text()
    assert "2026-03-05" in card
    assert "'</s_a>'" in card
