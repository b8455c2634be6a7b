import importlib
import json
import pickle
import shutil
import time
from dataclasses import replace

import pytest
import torch

from loratory.objectives.events import Finished, Ready, Score, Scored, Split, Worked
from loratory.objectives.objective import Beginning, objective_kind
from loratory.objectives.qlora.base import loading
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.kind import QLORA, build, load_early
from loratory.objectives.work_times import Part
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.study import ObjectiveName
from loratory.spaces.trial import resolve_trial

COLOURS = ["red", "green", "blue", "stone", "river", "hill"]


def prepare(study):
    return QLORA.prepare(study, Beginning.now())


@pytest.fixture
def real_study(make_study, tmp_path):
    """A study that reads its data from a file."""

    def make(**changes):
        rows = [
            {"instruction": f"Name colour {n} after {n % 7}.", "input": "", "output": f"{COLOURS[n % 6]} {n}"}
            for n in range(60)
        ]
        path = tmp_path / "train.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {"train": str(path), "eval_fraction": 0.4, "cleaning": {"near_duplicate_threshold": None}}
        evaluation = {"dev_examples": 8, "metrics": ["rougeL"], "max_new_tokens": 16}
        return make_study(metric="rougeL", data=data, evaluation=evaluation, **changes)

    return make


def test_registry_finds_it():
    assert objective_kind(ObjectiveName.QLORA) is QLORA


def test_a_missing_file_is_refused_at_once(real_study, tmp_path):
    study = real_study()
    QLORA.check(study)
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(InputError, match=r"data\.train: .*train\.jsonl: no such file"):
        QLORA.check(study)


def test_a_base_that_was_loaded_early_is_not_loaded_again(real_study, monkeypatch):
    study = real_study()
    assert load_early(study) is None  # there is no GPU, or tests hide it: the driver needs the cores
    early, prepared = load_early(study, on_cpu=True), prepare(study)
    assert early.reference == prepared.payload.reference
    loads, load = [], loading.load_base
    monkeypatch.setattr(loading, "load_base", lambda *given: loads.append(given) or load(*given))
    assert build(study, replace(prepared, early=early)).advance(()) and not loads
    other = replace(early, reference=replace(early.reference, revision="another"))
    assert build(study, replace(prepared, early=other)).advance(()) and len(loads) == 1


def test_prepared_travels_to_a_worker_and_a_trial_runs_there(real_study, drive):
    study = real_study()
    prepared = prepare(study)
    assert set(prepared.hashes) == {"data", "base"}
    assert prepared.has_base
    assert not prepared.has_test
    assert prepared.summary
    assert "examples.json" in prepared.files
    objective, began = build(study, pickle.loads(pickle.dumps(prepared))), time.perf_counter()
    trial = resolve_trial(study, number=0, attempt=1, sampled={"weight_decay": 0.1})
    events = drive(objective, trial)
    assert isinstance(events[0], Ready)
    assert events[0].hashes["base"] == prepared.hashes["base"]
    assert isinstance(events[-1], Finished)
    (last,) = objective.advance([])
    worked = [event for event in (*events, last) if isinstance(event, Worked)]
    seconds = {part: sum(event.seconds.get(part, 0.0) for event in worked) for part in Part}
    assert seconds[Part.TRAINING] > 0 < seconds[Part.SCORING] and not seconds[Part.IDLE]
    assert sum(seconds.values()) < time.perf_counter() - began
    assert sum(event.decoded_tokens for event in worked) > 0


def test_base_is_scored_before_any_trial(real_study):
    study = real_study()
    objective = build(study, prepare(study))
    events = objective.advance([Score(key="base", split=Split.SELECT)])
    while not isinstance(events[-1], Scored):
        events += objective.advance([])
    assert [type(event) for event in events] == [Ready, Scored]
    assert set(events[1].scores.aggregate) == {"loss", "rougeL"}


def test_allowed_experts_are_told_in_the_terminal(real_study, base_folder):
    model = {"base": str(base_folder("mixtral", num_local_experts=4))}
    with pytest.raises(InputError, match=r"experts\.down_proj.*are neither quantised nor adapted"):
        prepare(real_study(model=model))
    told = prepare(real_study(model=model | {"allow_unquantized_experts": True})).summary[0]
    assert "experts.down_proj" in told and "are neither quantised nor adapted" in told


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model": {"base": "./no/such/base"}}, r"model\.base"),
        ({"training": {"target_modules": ["c_attn"]}}, "c_attn"),
        ({"training": {"rank": 1000}}, "rank"),
    ],
)
def test_bad_input_is_refused_before_the_data_is_read(make_study, changes, rule):
    with pytest.raises(InputError, match=rule):
        prepare(make_study(**changes))


def test_data_that_is_not_there_is_refused(make_study):
    with pytest.raises(InputError, match=r"unused\.jsonl"):
        prepare(make_study())


def test_worker_with_another_base_is_refused(real_study, tmp_path, base_folder):
    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    study = real_study(model={"base": str(folder)})
    prepared = prepare(study)
    (folder / "generation_config.json").write_text("{}")
    with pytest.raises(LoratoryError, match="same on every machine"):
        build(study, prepared)


def test_checks_of_the_base_are_handed_on(real_study):
    checks = {check.name: check.passed for check in prepare(real_study()).checks}
    assert checks["weights"] and checks["adapter_loads"]
    assert checks["causal"] is None


def test_layers_without_adapters_are_told_in_the_terminal(real_study, base_folder):
    sizes = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
    told = prepare(real_study(model={"base": str(base_folder("falcon_h1", **sizes))})).summary
    assert "base: no adapters on out_proj (PEFT refuses it on falcon_h1)" in told


def test_a_worker_checks_the_weights_that_it_downloads(real_study, monkeypatch, tmp_path, base_folder):
    monkeypatch.setattr(BaseReference, "has_weights", property(lambda _: False))
    study = real_study()
    ready = build(study, prepare(study)).advance([])[0]
    assert {check.name: check.passed for check in ready.checks}["weights"]
    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))
    study = real_study(model={"base": str(folder)})
    with pytest.raises(InputError, match=r"9 are missing \(model\.layers\.2\."):
        build(study, prepare(study))


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("base.loading", "load_base", "the base, while it"),
        ("engine", "build_engine", "the checks of the base"),
    ],
)
def test_memory_that_ends_while_a_worker_is_made_is_named(real_study, monkeypatch, module, name, words):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    study = real_study()
    prepared = prepare(study)
    monkeypatch.setattr(importlib.import_module(f"loratory.objectives.qlora.{module}"), name, full)
    with pytest.raises(torch.OutOfMemoryError, match=f"no memory for {words}.*: CUDA out of memory"):
        build(study, prepared)
