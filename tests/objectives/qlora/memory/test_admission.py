from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import read_architecture, read_configuration
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.memory import admission as module
from loratory.objectives.qlora.memory.admission import Admission, check_base_fits, usable_bytes
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.facts import model_facts, workload
from loratory.objectives.qlora.memory.predict import predict
from loratory.spaces.errors import InputError

MIB, GIB = 2**20, 2**30
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


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
    stack = AdapterStack(size.layers, slots=2, rank=size.rank, device=CPU, compute_dtype=torch.float32)
    assert size.numbers_per_slot == stack.parameters_per_slot


@pytest.fixture
def on_cpu(data, architecture):
    """A function: a study, and facts of its model, to what is admitted on this CPU."""

    def admit(study, *, cached=True, **model):
        stack = stack_size(study, architecture)
        admission = Admission(study, data=data, stack=stack, device=CPU, dtype=torch.float32, facts=None)
        given = {
            "compute_dtype": torch.float32,
            "held_bytes": MIB,
            "holds_base": False,
            "concatenates": True,
            "fused_attention": False,
        }
        return admission.loaded(SimpleNamespace(**(given | model)), cached=cached).size

    return admit


def test_a_cpu_trains_one_trial_at_a_time_unless_it_is_told_otherwise(make_study, on_cpu):
    room = on_cpu(make_study())
    assert (room.slots, room.tokens_per_pass, room.decoding_rows, room.hold_base) == (1, 1024, 32, True)
    assert not on_cpu(make_study(), held_bytes=2**50).hold_base
    assert not on_cpu(make_study(), held_bytes=0).hold_base
    packing = {"slots": 5, "tokens_per_pass": 99, "cache_base": False, "optimizer_bits": 8}
    room = on_cpu(make_study(packing=packing, model={"gradient_checkpointing": True}))
    assert (room.slots, room.tokens_per_pass, room.hold_base) == (5, 99, False)
    assert (room.optimizer_bits, room.checkpointing, room.graphs) == (8, True, False)
    assert on_cpu(make_study(packing=packing), concatenates=False).slots == 1
    assert on_cpu(make_study(evaluation={"batch_size": 3}), cached=False).decoding_rows == 3


def test_no_slot_is_made_that_no_trial_would_take(make_study, on_cpu):
    assert on_cpu(make_study(packing={"slots": 256}, trials=7)).slots == 7


def test_more_slots_than_a_cpu_has_memory_for_are_refused(make_study, architecture, on_cpu, monkeypatch):
    numbers = stack_size(make_study(), architecture).numbers_per_slot
    monkeypatch.setattr(module, "host_memory_free", lambda: 100 * 20 * numbers)

    def slots(wanted, **model):
        return on_cpu(make_study(packing={"slots": wanted}, trials=200), **model).slots

    assert slots(92) == 92
    with pytest.raises(InputError, match="at most 92 on this device"):
        slots(93)
    assert slots(93, concatenates=False) == 1


def test_a_cpu_without_memory_tries_less_until_a_trial_is_alone(make_study, data, architecture):
    study = make_study(packing={"slots": 4})
    stack = stack_size(study, architecture)
    admission = Admission(study, data=data, stack=stack, device=CPU, dtype=torch.float32, facts=None)
    tried = [admission.loaded(SimpleNamespace(**vars_of_model()), cached=True)]
    while (smaller := admission.next_smaller(tried[-1])) is not None:
        tried.append(smaller)
    sizes = [one.size for one in tried]
    assert len(set(sizes)) == len(sizes) > 10
    last = sizes[-1]
    assert (last.slots, last.tokens_per_pass, last.decoding_rows) == (1, 64, 1)
    assert last.checkpointing and not last.hold_base


def vars_of_model(**changes):
    return {
        "compute_dtype": torch.float32,
        "held_bytes": MIB,
        "holds_base": False,
        "concatenates": True,
        "fused_attention": True,
    } | changes


@pytest.fixture
def on_gpu(monkeypatch, data, architecture):
    """A function: a study and MiB of free memory, to its admission on a GPU that is imitated."""
    monkeypatch.setattr(module, "gpu_of_device", lambda _: gpu_named("H100"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)

    def make(study, free):
        monkeypatch.setattr(module, "_free_on_gpu", lambda *_: free)
        reference, stack = resolve_base(study.model), stack_size(study, architecture)
        facts = model_facts(
            study.model,
            reference,
            read_configuration(reference),
            stack,
            dtype=torch.bfloat16,
            longest=int(data.train.lengths.max()),
        )
        admission = Admission(study, data=data, stack=stack, device=GPU, dtype=torch.bfloat16, facts=facts)
        return admission, facts, workload(study, data, stack, dtype=torch.bfloat16)

    return make


def test_what_is_chosen_on_a_gpu_fits_by_prediction(make_study, on_gpu):
    study = make_study(metric="rougeL", trials=30)
    chosen = []
    for free in (1 * GIB, 2 * GIB, 20 * GIB):
        admission, facts, load = on_gpu(study, free)
        size = admission.loaded(SimpleNamespace(**vars_of_model()), cached=True).size
        assert predict(facts, load, size, context_bytes=0).total <= usable_bytes(free)
        chosen.append(size)
    assert [size.tokens_per_pass for size in chosen] == sorted(size.tokens_per_pass for size in chosen)


def test_a_gpu_does_what_the_study_asks_for(make_study, on_gpu):
    packing = {"slots": 3, "tokens_per_pass": 500, "cache_base": False, "offload_optimizer": True}
    study = make_study(packing=packing, model={"gradient_checkpointing": False}, trials=9)
    admission, _, _ = on_gpu(study, 20 * GIB)
    size = admission.loaded(SimpleNamespace(**vars_of_model()), cached=True).size
    assert (size.slots, size.tokens_per_pass, size.hold_base) == (3, 500, False)
    assert size.offload and not size.checkpointing
    assert admission.loaded(SimpleNamespace(**vars_of_model(concatenates=False)), cached=True).size.slots == 1
    assert not admission.loaded(
        SimpleNamespace(**vars_of_model(fused_attention=False)), cached=True
    ).size.graphs


def test_a_gpu_on_which_not_even_a_trial_alone_fits_is_refused_with_its_largest_terms(make_study, on_gpu):
    admission, _, _ = on_gpu(make_study(), 261 * MIB)
    with pytest.raises(InputError, match="memory: the smallest arrangement must fit into") as refused:
        admission.admit(context_bytes=0)
    assert "copies" in str(refused.value) or "activations" in str(refused.value)


def test_an_allocation_that_fails_leads_to_ever_less(make_study, on_gpu):
    admission, facts, load = on_gpu(make_study(metric="rougeL", trials=30), 20 * GIB)
    tried = [admission.loaded(SimpleNamespace(**vars_of_model()), cached=True)]
    while (smaller := admission.next_smaller(tried[-1])) is not None:
        tried.append(smaller)
    totals = [predict(facts, load, one.size).total for one in tried]
    assert totals == sorted(totals, reverse=True) and len(totals) > 3
    assert (tried[-1].size.slots, tried[-1].size.graphs, tried[-1].size.checkpointing) == (1, False, True)


def test_ranks_that_do_not_fit_are_left_out_of_the_stack(make_study, on_gpu):
    study = make_study(space={"rank": [8, 16]})
    admission, facts, load = on_gpu(study, 20 * GIB)
    assert admission.admit(context_bytes=0).stack.rank == 16
    alone = module.smallest(facts, load, module.asked_of(study))
    needed = predict(facts, load, alone, context_bytes=0).total
    free = int((needed + 2**28) / 0.98) - 64 * 1024
    admission, _, _ = on_gpu(study, free)
    assert admission.admit(context_bytes=0).stack.rank == 8


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_base_that_cannot_fit_is_refused_before_it_is_loaded(make_study, architecture, quantization):
    model = make_study(model={"quantization": quantization}).model
    weights = sum(inputs * outputs for inputs, outputs in architecture.linear_layers.values())
    needed = 2 * weights if quantization == "none" else int(weights * (0.5 + (1 + 4 / 256) / 64)) + 1
    check_base_fits(model, architecture, free_bytes=needed, compute_dtype=torch.bfloat16)
    with pytest.raises(InputError, match=r"model\.base: linear layers must fit into 0\.00 GiB") as refused:
        check_base_fits(model, architecture, free_bytes=needed - 2, compute_dtype=torch.bfloat16)
    said = str(refused.value)
    assert f"GiB with model.quantization {quantization}; take a smaller base" in said
    assert ("or set model.quantization to nf4" in said) == (quantization == "none")


@pytest.mark.parametrize("optimizer", [["adamw"], ["adamw", "lora_plus"]])
def test_the_optimisers_of_a_study_are_asked_for_their_bytes(
    make_study, architecture, on_cpu, monkeypatch, optimizer
):
    asked = []
    monkeypatch.setattr(
        module, "state_bytes_per_number", lambda names, *, wide, **_: asked.append((list(names), wide)) or 96
    )
    study = make_study(space={"optimizer": optimizer}, packing={"slots": 2}, trials=9)
    numbers = stack_size(study, architecture).numbers_per_slot
    monkeypatch.setattr(module, "host_memory_free", lambda: 2 * (96 + 12) * numbers)
    with pytest.raises(InputError, match="at most 1 on this device"):
        on_cpu(study)
    assert asked == [(optimizer, 4)]
