import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from loratory.objectives.events import Finished, Reported
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.shapes import Piece, exact_shape
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.adapters.adapter import adapter_from_files, new_adapter
from loratory.objectives.qlora.adapters.injection import inject
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters

TARGETS = ("down_proj", "q_proj", "v_proj")
IDS = list(range(5, 26))


@pytest.fixture(scope="module")
def study(make_study):
    return make_study()


@pytest.fixture(scope="module")
def layers(study):
    return read_architecture(resolve_base(study.model)).linear_layers


@pytest.fixture(scope="module")
def load(study):
    return lambda: load_base(study.model, resolve_base(study.model))


def fresh(layers, *, seed=1, targets=TARGETS, **training):
    parameters = TrainingParameters(**{"rank": 4, **training})
    return new_adapter(layers, training=parameters, targets=targets, seed=seed)


def scrambled(adapter):
    generator = torch.Generator().manual_seed(5)
    return {n: torch.randn(m.shape, generator=generator) * 0.1 for n, m in adapter.state.items()}


def files_of(adapter, state=None, name=None):
    return adapter.files(state or adapter.state, base_name=name, revision=None)


def packed_logits(base, layers, adapter, state):
    """Logits of `IDS` as a pack computes them, in the second of two slots."""
    model = PackedModel(
        base.model,
        layers,
        device=base.device,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )
    stack = AdapterStack(layers, slots=2, rank=8, device=base.device, compute_dtype=base.compute_dtype)
    stack.put(1, state, scaling=adapter.scaling)
    pieces = [Piece(slot=1, input_ids=IDS, first=0, targets=IDS)]
    inputs = lay_out(pieces, exact_shape(pieces, slots=2, granule=8)).inputs
    with torch.no_grad(), model.enter_pass(inputs, stack):
        return model.logits(inputs)


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 7.5, "dropout": 0.2}, {"rank": 5, "alpha": 3, "rank_stabilized": True}, {"rank": 70}],
)
@pytest.mark.parametrize(
    "targets",
    [TARGETS, ("gate_proj", "k_proj", "o_proj", "up_proj"), ("model.layers.1.mlp.up_proj", "k_proj")],
)
def test_first_matrices_are_those_of_peft_on_the_real_base_to_the_bit(load, layers, options, targets):
    from peft import get_peft_model, get_peft_model_state_dict
    from peft.tuners.lora import LoraLayer

    adapter = fresh(layers, seed=11, targets=targets, **options)
    torch.manual_seed(11)
    theirs = get_peft_model(load().model, adapter.config)
    state = get_peft_model_state_dict(theirs)
    assert state.keys() == adapter.state.keys()
    assert all(torch.equal(state[name], matrix) for name, matrix in adapter.state.items())
    adapted = [module for module in theirs.modules() if isinstance(module, LoraLayer)]
    assert {module.scaling["default"] for module in adapted} == {adapter.scaling}


def test_the_installed_peft_draws_as_adapters_are_drawn(layers):
    """Else PEFT makes each adapter, which is right too, but slow."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fresh(layers)


def test_where_peft_draws_otherwise_it_makes_the_adapter(layers, monkeypatch):
    from peft.tuners.lora.layer import LoraLayer

    adapter, reset = fresh(layers, seed=11), LoraLayer.reset_lora_parameters
    monkeypatch.setattr(LoraLayer, "reset_lora_parameters", lambda *given: (torch.rand(1), reset(*given)))
    with pytest.warns(UserWarning, match="in a new way"):
        theirs = fresh(layers, seed=11)
    assert list(theirs.state) == list(adapter.state)
    assert not all(torch.equal(theirs.state[name], matrix) for name, matrix in adapter.state.items())
    injected = inject(layers, theirs.config, seed=11)
    assert all(torch.equal(theirs.state[name], matrix) for name, matrix in injected.state.items())


def test_targets_that_match_nothing_are_refused_by_peft(layers):
    with pytest.raises(ValueError, match="target_modules"):
        fresh(layers, targets=("no_such_layer",))


@pytest.mark.parametrize("initial", [None, {}])
def test_a_long_list_of_targets_stays_what_it_was(monkeypatch, initial):
    """PEFT shortens such lists, by the layers that it sees; that may be two, or all."""
    layers = {f"layers.{block}.{name}": (8, 8) for block in range(12) for name in ("q_proj", "o_proj")}
    targets = tuple(sorted(layers.keys() - {"layers.3.o_proj"}))
    if initial is not None:
        monkeypatch.setattr(
            "loratory.objectives.qlora.adapters.methods.initial_matrices", lambda *_, **__: initial
        )
    adapter = fresh(layers, targets=targets)
    assert len(targets) > 20 and set(adapter.config.target_modules) == set(targets)
    injected = inject(layers, adapter.config, seed=1)
    assert list(injected.state) == list(adapter.state)
    assert all(torch.equal(injected.state[name], matrix) for name, matrix in adapter.state.items())
    again = adapter_from_files(layers, files_of(adapter))
    assert files_of(again) == files_of(adapter)


def test_making_an_adapter_draws_from_nobodys_generator(layers):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fresh(layers)
    assert torch.equal(torch.rand(4), expected)


def test_adapters_made_in_threads_are_those_made_one_by_one(layers):
    files, seeds = files_of(fresh(layers)), range(16)
    expected = [fresh(layers, seed=seed).state for seed in seeds]
    torch.manual_seed(3)
    draws = torch.rand(4)
    torch.manual_seed(3)
    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(fresh, layers, seed=seed) for seed in seeds]
        read = [threads.submit(adapter_from_files, layers, files) for _ in seeds]
    for state, adapter in zip(expected, made, strict=True):
        assert all(torch.equal(state[name], matrix) for name, matrix in adapter.result().state.items())
    assert all(files_of(adapter.result()) == files for adapter in read)
    assert torch.equal(torch.rand(4), draws)


def test_making_an_adapter_seeds_no_gpu(layers, monkeypatch):
    seeded = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeded.append)
    torch.manual_seed(1)
    assert seeded == [1]
    adapter_from_files(layers, files_of(fresh(layers)))
    assert seeded == [1]


def test_initial_matrices_follow_the_seed(layers):
    first, again, other = (fresh(layers, seed=seed).state for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert {tensor.dtype for tensor in first.values()} == {torch.float32}


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_files_give_the_logits_of_the_pack_through_plain_peft(load, layers, adapter_folder, rank_stabilized):
    from peft import PeftModel

    adapter = fresh(layers, alpha=6, rank_stabilized=rank_stabilized)
    state = scrambled(adapter)
    folder = adapter_folder(files_of(adapter, state))
    theirs = PeftModel.from_pretrained(load().model, str(folder)).eval()
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor([IDS])).logits[0]
        with theirs.disable_adapter():
            assert not torch.allclose(theirs(input_ids=torch.tensor([IDS])).logits[0], expected, atol=0.1)
    mine = packed_logits(load(), layers, adapter, state)
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def test_files_are_the_same_bytes_for_the_same_matrices_and_read_back(layers):
    adapter = fresh(layers, alpha=3, rank_stabilized=True)
    state = scrambled(adapter)
    files = files_of(adapter, state)
    assert files == files_of(adapter, state)
    again = adapter_from_files(layers, files)
    assert again.scaling == adapter.scaling
    assert again.state.keys() == state.keys()
    assert all(torch.equal(again.state[name], matrix) for name, matrix in state.items())
    assert files_of(again) == files


@pytest.mark.parametrize("name", [None, "someone/some-base"])
def test_configuration_names_a_hub_id_and_never_a_path(study, layers, name):
    files = fresh(layers).files(fresh(layers).state, base_name=name, revision="abc" if name else None)
    config = json.loads(files["adapter_config.json"])
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert (config["base_model_name_or_path"], config["revision"]) == (name, "abc" if name else None)
    assert config["target_modules"] == sorted(TARGETS)
    assert (config["inference_mode"], config["r"], config["lora_alpha"]) == (True, 4, 8)
    assert study.model.base.encode() not in files["adapter_config.json"] + files["adapter_model.safetensors"]


def test_matrices_of_another_shape_are_refused(layers):
    wide, narrow = fresh(layers, rank=8), fresh(layers)
    weights = {"adapter_model.safetensors": files_of(wide)["adapter_model.safetensors"]}
    with pytest.raises(LoratoryError, match="matrices"):
        adapter_from_files(layers, files_of(narrow) | weights)
    fewer = fresh(layers, targets=("q_proj",))
    weights = {"adapter_model.safetensors": files_of(fewer)["adapter_model.safetensors"]}
    with pytest.raises(LoratoryError, match="matrices"):
        adapter_from_files(layers, files_of(narrow) | weights)


def test_the_adapter_that_was_trained_is_the_one_that_is_saved(
    study, load, make_objective, make_trial, drive, data, adapter_folder
):
    """The whole way: train, finish, load with PEFT, compare with the loss that training reported."""
    from peft import PeftModel

    from loratory.objectives.qlora.verification.plain_evaluation import evaluate

    events = drive(make_objective(study), make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    reports = [event for event in events if isinstance(event, Reported)]
    base, folder = load(), adapter_folder(finished.adapter)
    adapted = replace(base, model=PeftModel.from_pretrained(base.model, str(folder)))
    measured = evaluate(adapted, study, data.dev).scores.aggregate
    expected = reports[finished.best_step - 1].measurement.metrics
    assert measured == pytest.approx(expected, rel=1e-5)
    bare = evaluate(load(), study, data.dev).scores.aggregate
    assert bare["loss"] > 1.1 * measured["loss"]
