from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.data.examples import Examples
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.memory import admission as module
from loratory.objectives.qlora.memory.admission import (
    check_base_fits,
    measure_engine_size,
    wanted_slots,
)
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.facts import longest_prompt
from loratory.spaces.errors import InputError

GIB = 2**30


@pytest.fixture(scope="module")
def architecture(make_study):
    return read_architecture(resolve_base(make_study().model))


def test_stacks_hold_every_trial_of_the_study(make_study, architecture):
    fixed = stack_size(make_study(training={"target_modules": ["v_proj"], "dropout": 0.0}), architecture)
    assert list(fixed.layers) == [f"model.layers.{n}.self_attn.v_proj" for n in (0, 1)]
    assert (fixed.rank, fixed.dropout) == (4, False)
    space = {
        "rank": [2, 11, 4],
        "dropout": {"type": "float", "low": 0.0, "high": 0.3},
        "target_modules": [["v_proj"], ["up_proj", "v_proj"]],
    }
    searched = stack_size(make_study(space=space), architecture)
    assert [name.rpartition(".")[2] for name in searched.layers] == ["v_proj", "up_proj"] * 2
    assert (searched.rank, searched.dropout) == (11, True)
    every = stack_size(make_study(training={"target_modules": "all-linear"}), architecture)
    assert every.layers == architecture.linear_layers


def test_numbers_of_a_slot_are_those_of_its_row(make_study, architecture):
    size = stack_size(make_study(training={"rank": 5}), architecture)
    device = torch.device("cpu")
    stack = AdapterStack(size.layers, slots=2, rank=size.rank, device=device, compute_dtype=torch.float32)
    assert size.numbers_per_slot == stack.parameters_per_slot


def test_slots_are_as_many_as_keep_a_gpu_busy(make_study, data):
    tokens = sum(map(len, data.train)) / len(data.train)
    assert wanted_slots(make_study(training={"batch_size": 4096}), data) == 1
    assert wanted_slots(make_study(training={"batch_size": 1}, trials=5), data) == 5
    assert wanted_slots(make_study(training={"batch_size": 1}, trials=50), data) == 16
    searched = make_study(space={"batch_size": [32, 256]}, trials=50)
    assert wanted_slots(searched, data) == -(-8192 // (32 * tokens))


def test_longest_prompt_is_of_what_is_answered(data, make_examples):
    longer = make_examples(40, 50)
    lengths = [len(e.prompt_ids) for e in (*data.dev, *data.select, *data.test)]
    assert longest_prompt(data) == longest_prompt(replace(data, train=longer)) == max(lengths)
    assert longest_prompt(replace(data, test=Examples.of(()))) <= max(lengths)


def on_cpu(**changes):
    return SimpleNamespace(
        **(
            {
                "device": torch.device("cpu"),
                "compute_dtype": torch.float32,
                "held_bytes": 2**20,
                "holds_base": False,
                "concatenates": True,
            }
            | changes
        )
    )


def test_a_cpu_trains_one_trial_at_a_time_unless_it_is_told_otherwise(make_study, data, architecture):
    size = stack_size(make_study(), architecture)
    room = measure_engine_size(make_study(), data, on_cpu(), size)
    assert (room.slots, room.tokens_per_pass, room.decoding_rows, room.hold_base) == (1, 1024, 32, True)
    assert not measure_engine_size(make_study(), data, on_cpu(held_bytes=2**50), size).hold_base
    assert not measure_engine_size(make_study(), data, on_cpu(held_bytes=0), size).hold_base
    packing = {"slots": 5, "tokens_per_pass": 99, "cache_base": False}
    room = measure_engine_size(make_study(packing=packing), data, on_cpu(), size)
    assert (room.slots, room.tokens_per_pass, room.hold_base) == (5, 99, False)
    assert measure_engine_size(make_study(packing=packing), data, on_cpu(concatenates=False), size).slots == 1


def test_no_slot_is_made_that_no_trial_would_take(make_study, data, architecture):
    study = make_study(packing={"slots": 256}, trials=7)
    assert measure_engine_size(study, data, on_cpu(), stack_size(study, architecture)).slots == 7


def test_more_slots_than_a_cpu_has_memory_for_are_refused(make_study, data, architecture, monkeypatch):
    size = stack_size(make_study(), architecture)
    monkeypatch.setattr(module, "host_memory_free", lambda: 100 * 20 * size.numbers_per_slot)

    def slots(wanted, **model):
        study = make_study(packing={"slots": wanted}, trials=200)
        return measure_engine_size(study, data, on_cpu(**model), size).slots

    assert slots(92) == 92
    with pytest.raises(InputError, match="at most 92 on this device"):
        slots(93)
    assert slots(93, concatenates=False) == 1


@pytest.fixture
def on_gpu(monkeypatch, make_study, data, architecture):
    """A function: free GiB, and what the study asks for, to the room on such a GPU, and the study's size."""

    def measure(free, *, token_bytes=2**20, rank=64, model=None, **packing):
        study = make_study(training={"rank": rank, "batch_size": 1}, packing=packing, trials=50)
        monkeypatch.setattr(module, "_free_on_gpu", lambda *_: free * GIB)
        monkeypatch.setattr(module, "_measured_bytes_per_token", lambda *_: token_bytes)
        monkeypatch.setattr(module, "_decoding_rows", lambda *_: 64)
        given = {
            "device": SimpleNamespace(type="cuda"),
            "compute_dtype": torch.bfloat16,
            "held_bytes": 4 * GIB,
            "holds_base": False,
            "concatenates": True,
        }
        size = stack_size(study, architecture)
        return measure_engine_size(study, data, SimpleNamespace(**(given | (model or {}))), size), size

    return measure


def test_what_a_gpu_has_room_for_fits_into_it(on_gpu):
    for free in (2, 4, 8, 16, 80):
        room, size = on_gpu(free)
        used = (
            room.slots * size.numbers_per_slot * 20
            + (4 * GIB if room.hold_base else 0)
            + room.tokens_per_pass * 2**20
        )
        assert used <= free * GIB
        assert 1 <= room.slots <= 16 and 1024 <= room.tokens_per_pass <= 32_768
    assert not on_gpu(4)[0].hold_base and on_gpu(80)[0].hold_base
    assert on_gpu(80)[0].tokens_per_pass == 32_768
    assert not on_gpu(80, model={"held_bytes": 0})[0].hold_base


def test_a_gpu_does_what_the_study_asks_for(on_gpu):
    room, _ = on_gpu(80, slots=3, tokens_per_pass=500, cache_base=False)
    assert (room.slots, room.tokens_per_pass, room.hold_base) == (3, 500, False)
    assert on_gpu(80, model={"concatenates": False})[0].slots == 1


def test_more_slots_than_fit_are_refused_with_how_many_do(on_gpu):
    with pytest.raises(InputError, match=r"packing\.slots: must be at most (\d+) on this device") as refused:
        on_gpu(1.2, slots=256)
    fits = int(str(refused.value).split("at most ")[1].split()[0])
    assert on_gpu(1.2, slots=fits)[0].slots == fits
    with pytest.raises(InputError, match=r"packing\.slots"):
        on_gpu(1.2, slots=fits + 1)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_base_that_cannot_fit_is_refused_before_it_is_loaded(
    make_study, architecture, monkeypatch, quantization
):
    study = make_study(model={"quantization": quantization})
    weights = sum(inputs * outputs for inputs, outputs in architecture.linear_layers.values())
    given = {"device": torch.device("cpu"), "compute_dtype": torch.bfloat16}
    needed = 2 * weights if quantization == "none" else int(weights * (0.5 + (1 + 4 / 256) / 64)) + 1
    monkeypatch.setattr(module, "host_memory_free", lambda: needed)
    check_base_fits(study, architecture, **given)
    monkeypatch.setattr(module, "host_memory_free", lambda: needed - 2)
    with pytest.raises(InputError, match=r"model\.base: linear layers must fit into 0\.00 GiB") as refused:
        check_base_fits(study, architecture, **given)
    said = str(refused.value)
    assert f"GiB with model.quantization {quantization}; take a smaller base" in said
    assert ("or set model.quantization to nf4" in said) == (quantization == "none")


@pytest.mark.parametrize("optimizer", [["adamw"], ["adamw", "lora_plus"]])
def test_the_optimisers_of_a_study_are_asked_for_their_bytes(
    make_study, data, architecture, monkeypatch, optimizer
):
    asked = []
    monkeypatch.setattr(
        module, "state_bytes_per_number", lambda names, *, wide, **_: asked.append((list(names), wide)) or 96
    )
    study = make_study(space={"optimizer": optimizer}, packing={"slots": 2}, trials=9)
    size = stack_size(study, architecture)
    monkeypatch.setattr(module, "host_memory_free", lambda: 2 * (96 + 12) * size.numbers_per_slot)
    with pytest.raises(InputError, match="at most 1 on this device"):
        measure_engine_size(study, data, on_cpu(), size)
    assert asked == [(optimizer, 4)]
