"""`loratory plan`: lines, JSON and exit status."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from loratory.objectives.qlora.engine_words import sizes_text
from loratory.objectives.qlora.memory import planning
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import ModelFacts, model_facts
from loratory.objectives.qlora.memory.planning import plan_study
from loratory.search import plan_view
from loratory.search.main import app
from loratory.search.plan_view import duration_text, plan_lines, size_text, summary_lines
from loratory.spaces.errors import InputError
from loratory.spaces.loading import load_study

EXAMPLES = Path(__file__).parents[3] / "examples"


_FACTS: dict[str, ModelFacts] = {}


@pytest.fixture(autouse=True)
def _counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the activations of each base once for all tests."""

    def facts(model: Any, *arguments: Any, **keywords: Any) -> ModelFacts:
        key = f"{model.base} {keywords['dtype']} {keywords['longest']}"
        if key not in _FACTS:
            _FACTS[key] = model_facts(model, *arguments, **keywords)
        return _FACTS[key]

    monkeypatch.setattr(planning, "model_facts", facts)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _garbage_is_collected_again() -> Iterator[None]:
    yield
    gc.enable()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_an_example_on_a_named_gpu() -> None:
    text = run(str(EXAMPLES / "labels.yaml"), "--gpu", "rtx 4090", "--gpus", "2")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "labels: 20 trials of Qwen/Qwen2.5-1.5B on 2 x RTX 4090, 23.5 GiB"
    for words in (
        "every sequence counts as max_length, 512 tokens",
        "data/labels.csv",
        "smallest trial   largest trial          worker",
        "arrangement: ",
        "durations (from data sheets, for 1,000 examples): ",
        "on 2 GPUs",
        "space: every trial fits",
        "disk: at most ",
        "eval: 200 select examples",
    ):
        assert words in " ".join(text.split()) or words in text


def test_json_and_common_sizes(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: small\nmodel: {base: 'builtin:quickstart'}\ndata: {train: 'no.jsonl', max_length: 64}\n"
        "space: {rank: [4, 8]}\n"
    )
    plan = json.loads(run(str(path), "--json", "--set", "trials=7"))
    assert plan["trials"] == 7
    assert plan["worker"] is None
    assert plan["common"][0]["gpu"]["name"] == "8 GiB"
    text = run(str(path))
    assert "There is no GPU here" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_toy_needs_no_plan() -> None:
    assert "uses no GPU: there is nothing to plan" in run(str(EXAMPLES / "toy.yaml"))
    assert "nothing to plan" in json.loads(run(str(EXAMPLES / "toy.yaml"), "--json"))["notes"][0]


def test_a_folder_and_an_unknown_gpu_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a study file, is a folder"):
        run(str(tmp_path))
    with pytest.raises(InputError, match="--gpu: must be a GPU of the table, such as "):
        run(str(EXAMPLES / "labels.yaml"), "--gpu", "RTX 4091")
    assert InputError.exit_status == 2


def test_a_run_prints_a_summary(tmp_path: Path) -> None:
    study = load_study(EXAMPLES / "labels.yaml", [])
    plan = plan_study(study, gpu="H100", runs=tmp_path)
    lines = list(summary_lines(plan))
    assert 2 <= len(lines) <= 4
    assert all(line.startswith("plan: ") for line in lines)
    assert "measured on this kind" in lines[1]
    assert not list(summary_lines(plan_study(study, runs=tmp_path)))
    assert gpu_named("H100").measured
    assert any("measured on this kind" in line for line in [" ".join(plan_lines(plan))])


def test_a_disk_without_room_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (str(EXAMPLES / "labels.yaml"), "--gpu", "H100", "--runs", str(tmp_path / "not" / "there"))
    assert "of disk free" not in run(*asked)
    monkeypatch.setattr(plan_view, "disk_free", lambda folder: 2**20 if folder == tmp_path else None)
    text = " ".join(run(*asked).split())
    assert f"note: {tmp_path} has 1 MiB of disk free, the study may need " in text
    assert json.loads(run(*asked, "--json"))["notes"][0].startswith(f"{tmp_path} has 1 MiB")
    study = load_study(EXAMPLES / "labels.yaml", [])
    planned = plan_view.with_disk_note(plan_study(study, gpu="H100", runs=tmp_path), tmp_path)
    assert list(summary_lines(planned))[-1].startswith(f"plan: note: {tmp_path} has 1 MiB")


def test_a_grid_is_planned_with_the_points_that_it_has() -> None:
    grid = ["--set", "sampler=grid", "--set", "space.learning_rate=[1e-4]", "--set", "space.epochs=[1]"]
    text = run(str(EXAMPLES / "labels.yaml"), *grid, "--gpu", "H100")
    assert text.startswith("labels: 6 trials of ")


def test_plan_and_worker_describe_an_arrangement_alike() -> None:
    text = " ".join(run(str(EXAMPLES / "labels.yaml"), "--gpu", "H100").split())
    size = json.loads(run(str(EXAMPLES / "labels.yaml"), "--gpu", "H100", "--json"))
    words = sizes_text(
        EngineSize(**size["worker"]["size"]),
        dtype=size["base"]["compute_dtype"],
        held_bytes=size["base"]["held_bytes"],
        decodes=True,
    )
    assert f"arrangement: {words}; takes " in text


def test_it_counts_and_says_what_follows_the_search() -> None:
    file, again = (
        str(EXAMPLES / "labels.yaml"),
        ["--set", "confirmation.top=2", "--set", "confirmation.seeds=4"],
    )
    plain = json.loads(run(file, "--gpu", "H100", "--json"))
    found = json.loads(run(file, *again, "--gpu", "H100", "--json"))
    text = " ".join(run(file, *again, "--gpu", "H100").split())
    select, confirm = found["data"]["select"], found["data"]["confirm"]
    assert f"scoring the base on {select:,} select examples" in text
    assert (f"the best 5 trials and the base on {confirm:,} confirm examples" in text) == bool(confirm)
    assert "retraining 2 settings on 4 new seeds (" in text and "of a GPU)" in text
    assert "retraining" not in run(file, "--gpu", "H100")
    before, after = plain["worker"]["durations"], found["worker"]["durations"]
    assert after["retraining_seconds"] == pytest.approx(8 * before["seconds_per_trial"])
    assert after["seconds"] - before["seconds"] == pytest.approx(after["retraining_seconds"])
    assert found["disk"]["adapters"] > plain["disk"]["adapters"]
    assert plain["afterwards"]["scored"][0] == plain["data"]["select"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(4, "4 s"), (99, "99 s"), (150, "2 min"), (5400, "90 min"), (7200, "2 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_sizes() -> None:
    assert size_text(5 * 2**20) == "5 MiB"
    assert size_text(5.25 * 2**30) == "5.2 GiB"
