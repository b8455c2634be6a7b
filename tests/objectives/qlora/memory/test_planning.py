"""The plan of a study, without a GPU, weights or network."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from loratory.objectives.data.cached_preparation import prepare_cached
from loratory.objectives.objective import Prepared
from loratory.objectives.qlora.base.architecture import read_architecture, read_tokenizer
from loratory.objectives.qlora.base.reference import base_sha256, resolve_base, tokenizer_sha256
from loratory.objectives.qlora.memory import planning
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.facts import ModelFacts, model_facts
from loratory.objectives.qlora.memory.planning import plan_of_data, plan_study, smallest_difference
from loratory.objectives.study_folder import StudyFolder
from loratory.search.manifest import beginning_of, open_manifest
from loratory.spaces.errors import InputError
from loratory.spaces.packing import trials_taken
from loratory.spaces.study import StudySpec

GIB = 2**30


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
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of 2,000 rows."""
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    lines = [{"prompt": f"say {n}", "completion": f"it is {n * n}"} for n in range(2000)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def study(**changes: object) -> StudySpec:
    fields = {
        "name": "planned",
        "trials": 6,
        "model": {"base": "builtin:quickstart"},
        "data": {"train": "no.jsonl", "max_length": 64},
        "evaluation": {"dev_examples": 20, "max_new_tokens": 16},
        "space": {"learning_rate": [1e-4, 1e-3], "rank": [4, 256]},
    }
    return StudySpec.model_validate(fields | changes)


def test_a_small_base_with_its_data(tmp_path: Path, rows: str) -> None:
    plan = plan_study(study(data={"train": rows}), gpu="RTX 4090", gpus=2, runs=tmp_path)
    assert plan.data.known
    assert "2,000 rows of train, lengths by 286 of them" in plan.data.source
    assert plan.data.train == pytest.approx(1800, rel=0.1)
    assert plan.data.dev == 20
    assert plan.data.select == pytest.approx(180, rel=0.2)
    assert 5 < plan.data.mean_tokens <= plan.data.longest_tokens < 100
    worker = plan.worker
    assert worker is not None
    assert worker.size is not None
    assert worker.size.slots > 1
    assert worker.terms.total < worker.usable_bytes < worker.gpu.memory_bytes
    assert worker.durations is not None
    assert plan.space.infeasible_share == 0
    assert plan.space.smallest.params["rank"] == 4
    assert plan.space.smallest.terms.total <= min(plan.space.quartiles)
    assert plan.space.largest.terms.total >= max(plan.space.quartiles)
    assert plan.base.counted
    written = json.loads(json.dumps(plan.to_json()))
    assert written["worker"]["terms"]["total"] == worker.terms.total
    assert written["worker"]["durations"]["gpu_hours"] > 0
    assert written["disk"]["total"] == plan.disk.total


def test_without_data_every_sequence_is_as_long_as_may_be(tmp_path: Path) -> None:
    given = study(data={"train": str(tmp_path / "no.jsonl"), "max_length": 128})
    plan = plan_study(given, memory="8GiB", runs=tmp_path)
    assert not plan.data.known
    assert "no.jsonl" in plan.data.source
    assert plan.data.mean_tokens == plan.data.longest_tokens == 128
    assert plan.data.select >= plan.data.dev == 20
    assert plan.worker is not None
    assert plan.worker.durations is None


def test_what_a_run_kept_is_used(tmp_path: Path, rows: str) -> None:
    given = study(data={"train": rows, "train_examples": 50})
    assert given.model is not None
    folder = StudyFolder(tmp_path / given.name)
    folder.data.mkdir(parents=True)
    reference = resolve_base(given.model)
    beginning = beginning_of(folder)
    kept = prepare_cached(
        given,
        read_tokenizer(reference),
        cache=folder.data,
        tokenizer_sha256=tokenizer_sha256(reference),
        max_positions=read_architecture(reference).max_positions,
        created_at=beginning.created_at,
    )
    open_manifest(folder, given, Prepared(hashes={"base": base_sha256(reference)}), beginning)
    plan = plan_study(given, gpu="T4", runs=tmp_path)
    assert "keeps it" in plan.data.source
    assert plan.data.train == len(kept.data.train)
    assert plan.data.longest_tokens == int(kept.data.train.lengths.max())
    assert plan.base.compute_dtype == "float16"
    same = plan_of_data(given, kept.data, gpu=gpu_named("T4"), gpus=1)
    assert same.worker == plan.worker


def test_what_cannot_fit_is_named_with_its_share(tmp_path: Path) -> None:
    whole = plan_study(study(), memory="8GiB", runs=tmp_path).space
    between = (whole.smallest.terms.total + whole.largest.terms.total) // 2
    plan = plan_study(study(), memory=f"{(between + 2**28) / 0.98 / 2**20:.0f}MiB", runs=tmp_path)
    assert plan.space.infeasible_share == pytest.approx(0.5, abs=0.1)
    assert plan.space.infeasible == ("rank > 4",)
    of_rank_4 = plan_study(study(space={"rank": [4]}), memory="8GiB", runs=tmp_path).disk
    assert plan.disk.adapters == of_rank_4.adapters  # no other is ever trained
    assert plan.worker is not None
    assert plan.worker.size is not None
    assert plan.worker.terms.total <= plan.worker.usable_bytes


def test_without_a_gpu_common_sizes_are_planned(tmp_path: Path) -> None:
    plan = plan_study(study(), runs=tmp_path)
    assert plan.worker is None
    assert [worker.gpu.name for worker in plan.common][::6] == ["8 GiB", "80 GiB"]
    assert plan.space.infeasible_share is None
    assert json.dumps(plan.to_json())


def test_a_budget_of_the_disk_bounds_adapters(tmp_path: Path) -> None:
    free = plan_study(study(trials=5000), memory="8GiB", runs=tmp_path).disk
    limit = (free.checkpoints + free.adapters / 2) / GIB
    bound = plan_study(study(trials=5000, resources={"disk_gib": limit}), memory="8GiB", runs=tmp_path).disk
    assert bound.adapters == pytest.approx(free.adapters / 2, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "asked", "message"),
    [
        ({}, {"gpu": "RTX 4091"}, r"--gpu: must be .*such as RTX 4090"),
        ({}, {"memory": "plenty"}, r"--memory: must be a size such as 24GiB, got 'plenty'"),
        ({}, {"memory": "300MiB"}, r"the smallest trial must fit into 0.0 GiB"),
        (
            {"model": {"base": "meta-llama/Llama-3.1-8B"}, "data": {"train": "no.jsonl"}},
            {"memory": "5GiB"},
            r"model.base: must fit into 4.6 GiB .* nf4 takes 5.3 GiB alone; take a smaller base",
        ),
        ({"packing": {"slots": 4}}, {"memory": "300MiB"}, r"take packing\.slots left out, a smaller base"),
        (
            {"model": {"base": "meta-llama/Llama-3.1-8B", "quantization": "none"}},
            {"memory": "12GiB"},
            r"in none takes 15.0 GiB alone; take model\.quantization: nf4, a smaller base",
        ),
        ({"model": {"base": "who/knows"}}, {"memory": "8GiB"}, r"the sizes of 'who/knows' must be known"),
    ],
)
def test_bad_input(changes: dict[str, object], asked: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        plan_study(study(**changes), runs=tmp_path, **asked)  # type: ignore[arg-type]


def test_a_worker_with_a_share_of_a_gpu_has_that_share_of_its_memory(tmp_path: Path) -> None:
    shared = plan_study(study(resources={"gpus_per_worker": 0.25}), memory="8GiB", runs=tmp_path)
    assert shared.worker is not None and shared.worker.gpu.memory_bytes == 2 * GIB
    assert any("gpus_per_worker is 0.25" in note for note in shared.notes)


def notes_of(tmp_path: Path, *, changes: dict[str, object] | None = None, **asked: Any) -> str:
    """Return the notes of a plan, one per line."""
    return "\n".join(plan_study(study(**changes or {}), runs=tmp_path, **asked).notes)


def test_what_a_plan_guesses_or_changes_is_a_note(tmp_path: Path) -> None:
    assert not notes_of(tmp_path, gpu="RTX 4090")
    assert "A100 is taken as A100 40 GB; A100 80 GB would" in notes_of(tmp_path, gpu="A100")
    assert "A100 80 GB would" not in notes_of(tmp_path, gpu="A100-40G")
    larger = notes_of(tmp_path, gpu="L4", memory="30GiB")
    assert "L4 has 21.9 GiB, the plan is for 30.0 as --memory says" in larger
    assert not notes_of(tmp_path, gpu="L4", memory="20GiB")
    assert "of 9 GPUs 3 have nothing to train: there are 6 trials" in notes_of(tmp_path, gpu="L4", gpus=9)
    none = notes_of(tmp_path, gpu="L4", changes={"resources": {"gpus_per_worker": 0}})
    assert "workers of this file use no GPU" in none


def test_the_number_of_gpus_is_that_of_the_file_unless_it_is_given(tmp_path: Path) -> None:
    two = study(resources={"workers": 2})
    as_written = plan_study(two, gpu="L4", runs=tmp_path)
    assert as_written.gpus == 2 and not as_written.notes
    given = plan_study(two, gpu="L4", gpus=3, runs=tmp_path)
    assert given.gpus == 3
    assert given.notes == ("resources.workers is 2, the plan is for 3 as --gpus says",)
    halves = study(resources={"workers": 4, "gpus_per_worker": 0.5})
    assert plan_study(halves, gpu="L4", runs=tmp_path).gpus == 2


def test_the_best_adapters_stay_whatever_the_budget_of_the_disk(tmp_path: Path) -> None:
    given = study(trials=50, resources={"disk_gib": 0.001})
    plan, free = (plan_study(one, memory="8GiB", runs=tmp_path) for one in (given, study(trials=50)))
    largest = free.disk.checkpoints / (trials_taken(free.worker.size.slots) * 4)  # type: ignore[union-attr]
    assert plan.disk.adapters == 5 * largest
    assert "adapters of the worst trials are deleted" in plan.notes[0]
    assert f"never deleted: {(plan.disk.adapters + plan.disk.checkpoints) / GIB:.1f} GiB" in plan.notes[1]


def test_more_slots_than_fit_are_refused_with_how_many_do(tmp_path: Path) -> None:
    many = {"trials": 300, "packing": {"slots": 256}, "space": {"rank": [1024]}}
    with pytest.raises(InputError, match=r"256 of the smallest trials at once must fit") as refused:
        plan_study(study(**many), memory="6GiB", runs=tmp_path)
    found = re.search(r"take packing\.slots: (\d+) or fewer", str(refused.value))
    assert found is not None
    most = int(found[1])
    assert plan_study(study(**many | {"packing": {"slots": most}}), memory="6GiB", runs=tmp_path).worker
    with pytest.raises(InputError, match=rf"packing\.slots: {most} or fewer"):
        plan_study(study(**many | {"packing": {"slots": most + 1}}), memory="6GiB", runs=tmp_path)


def test_a_grid_has_no_other_points(tmp_path: Path) -> None:
    cap = plan_study(study(), memory="8GiB", runs=tmp_path).space
    between = (cap.smallest.terms.total + cap.largest.terms.total) // 2
    memory = f"{(between + 2**28) / 0.98 / 2**20:.0f}MiB"
    assert "a grid has no other points" in notes_of(tmp_path, memory=memory, changes={"sampler": "grid"})
    assert "grid" not in notes_of(tmp_path, memory=memory)
    assert "grid" not in notes_of(tmp_path, memory="8GiB", changes={"sampler": "grid"})


def test_the_smallest_difference_is_that_of_the_simulations() -> None:
    assert smallest_difference(200, 12) == pytest.approx(0.132, abs=0.001)
    assert smallest_difference(200, 64) == pytest.approx(0.150, abs=0.001)
    assert smallest_difference(1000, 30) == pytest.approx(0.064, abs=0.003)
    assert smallest_difference(0, 1) > 1
