import json

import pytest
import torch

from loratory.objectives.events import Finished, Reported
from loratory.objectives.qlora.adapter import activate, adapter_from_files, new_adapter, remove_adapter
from loratory.objectives.qlora.base import load_base
from loratory.objectives.qlora.reference import resolve_base
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters

TARGETS = ("down_proj", "q_proj", "v_proj")


@pytest.fixture(scope="module")
def study(make_study):
    return make_study()


@pytest.fixture
def base(study):
    return load_base(study.model, resolve_base(study.model))


def fresh(base, *, seed=1, name="slot_0", targets=TARGETS, **training):
    training = TrainingParameters(**{"rank": 4, **training})
    return new_adapter(base, name=name, training=training, targets=targets, seed=seed)


def scrambled(adapter):
    generator = torch.Generator().manual_seed(5)
    return {n: torch.randn(m.shape, generator=generator) * 0.1 for n, m in adapter.state().items()}


def logits(model, device):
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(5, 25, device=device)[None]).logits


def test_fresh_adapter_follows_its_seed_and_changes_nothing_yet(base):
    bare = logits(base.model, base.device)
    first = fresh(base)
    assert torch.equal(logits(base.model, base.device), bare)
    state = first.state()
    first.remove()
    again, other = fresh(base).state(), None
    remove_adapter(base, "slot_0")
    other = fresh(base, seed=2).state()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert not all(torch.equal(state[name], other[name]) for name in state)


def test_removed_adapter_leaves_the_bare_base(base):
    bare = logits(base.model, base.device)
    adapter = fresh(base)
    adapter.load(scrambled(adapter))
    assert not torch.equal(logits(base.model, base.device), bare)
    adapter.remove()
    assert torch.equal(logits(base.model, base.device), bare)
    assert not any("lora" in name for name, _ in base.model.named_parameters())


def test_two_adapters_do_not_mix(base):
    first = fresh(base)
    first.load(scrambled(first))
    expected = logits(base.model, base.device)
    second = fresh(base, name="scored", targets=("up_proj",), rank=2)
    second.load(scrambled(second))
    assert not torch.equal(logits(base.model, base.device), expected)
    second.remove()
    activate(base, "slot_0")
    assert torch.equal(logits(base.model, base.device), expected)
    assert all(matrix.requires_grad for matrix in first.parameters.values())


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_files_give_the_same_logits_through_plain_peft(base, study, adapter_folder, rank_stabilized):
    from peft import PeftModel

    adapter = fresh(base, alpha=6, rank_stabilized=rank_stabilized)
    state = scrambled(adapter)
    adapter.load(state)
    mine = logits(base.model, base.device)
    folder = adapter_folder(adapter.files(adapter.state()))
    other = load_base(study.model, resolve_base(study.model))
    theirs = logits(PeftModel.from_pretrained(other.model, str(folder)), other.device)
    assert torch.equal(mine, theirs)


def test_files_are_the_same_bytes_for_the_same_matrices_and_read_back(base):
    adapter = fresh(base)
    adapter.load(scrambled(adapter))
    files, expected = adapter.files(adapter.state()), logits(base.model, base.device)
    assert files == adapter.files(adapter.state())
    adapter.remove()
    again = adapter_from_files(base, name="scored", files=files)
    assert torch.equal(logits(base.model, base.device), expected)
    assert again.files(again.state()) == files


@pytest.mark.parametrize("hub_id", [None, "someone/some-base"])
def test_configuration_names_a_hub_id_and_never_a_path(make_study, hub_id):
    study = make_study(model={"hub_id": hub_id})
    base = load_base(study.model, resolve_base(study.model))
    adapter = fresh(base)
    files = adapter.files(adapter.state())
    config = json.loads(files["adapter_config.json"])
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert config["base_model_name_or_path"] == hub_id
    assert config["target_modules"] == sorted(TARGETS)
    assert study.model.base.encode() not in files["adapter_config.json"] + files["adapter_model.safetensors"]


def test_matrices_of_another_shape_are_refused_and_nothing_stays(base):
    wide, narrow = fresh(base, name="wide", rank=8), fresh(base)
    with pytest.raises(LoratoryError, match="matrices"):
        narrow.load(wide.state())
    files = narrow.files(narrow.state()) | {
        "adapter_model.safetensors": wide.files(wide.state())["adapter_model.safetensors"]
    }
    wide.remove()
    narrow.remove()
    with pytest.raises(LoratoryError, match="matrices"):
        adapter_from_files(base, name="scored", files=files)
    assert not any("lora" in name for name, _ in base.model.named_parameters())


def test_adapter_in_the_slot_is_the_one_that_is_saved(
    study, make_objective, make_trial, drive, adapter_folder
):
    """The whole way: train, finish, load with PEFT, compare with the loss that training reported."""
    from dataclasses import replace

    from peft import PeftModel

    from loratory.objectives.qlora.evaluation import evaluate

    objective = make_objective(study)
    events = drive(objective, make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    reports = [event for event in events if isinstance(event, Reported)]
    base = load_base(study.model, resolve_base(study.model))
    folder = adapter_folder(finished.adapter)
    adapted = replace(base, model=PeftModel.from_pretrained(base.model, str(folder)))
    measured = evaluate(adapted, study, objective._data.dev).scores.aggregate
    assert measured == reports[finished.best_step - 1].measurement.metrics
