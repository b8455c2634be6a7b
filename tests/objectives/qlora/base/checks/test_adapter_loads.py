"""Adapters as PEFT loads them, on a model without weights."""

from dataclasses import replace

import pytest

from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.checks.adapter_loads import check_adapter_loads
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.errors import InputError


@pytest.fixture
def checked(make_study):
    """A function: a base's folder and targets to the check; the architecture may be changed before."""

    def check(folder, targets=("all-linear",), change=lambda architecture: architecture):
        study = make_study(model={"base": str(folder)}, space={"target_modules": list(targets)})
        reference = resolve_base(study.model)
        return check_adapter_loads(study, change(read_architecture(reference)), reference)

    return check


def test_each_choice_of_targets_is_tried(checked, base_folder):
    check = checked(base_folder(), ["all-linear", ["q_proj", "v_proj"], ["down_proj"]])
    assert (check.name, check.passed) == ("adapter_loads", True)
    assert "LlamaForCausalLM, 3 choices" in check.detail


def test_no_gpu_is_touched(checked, base_folder, monkeypatch):
    def infer() -> str:
        raise AssertionError("the driver must leave the GPU to its workers")

    monkeypatch.setattr("peft.peft_model.infer_device", infer)
    monkeypatch.setattr("peft.utils.save_and_load.infer_device", infer)
    assert checked(base_folder()).passed


@pytest.mark.parametrize("kind", ["Gemma3", "Mistral3"])
def test_text_parts_are_adapted_alone(checked, multimodal_folder, kind):
    assert f"{kind}ForConditionalGeneration" in checked(multimodal_folder(kind)).detail


def test_names_that_match_a_tower_too_are_refused(checked, multimodal_folder):
    def forget_towers(architecture):
        return replace(architecture, other_modules=())

    with pytest.raises(InputError, match=r"PEFT must load adapters on .*vision_tower.*; name other"):
        checked(multimodal_folder("Gemma3"), change=forget_towers)


def test_layers_that_peft_refuses_by_the_type_are_refused(checked, base_folder):
    def forget_refusal(architecture):
        layers = architecture.linear_layers | {"model.layers.0.mamba.out_proj": (64, 64)}
        return replace(architecture, linear_layers=layers, left_out={})

    folder = base_folder("falcon_h1", mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8)
    assert checked(folder).passed
    with pytest.raises(InputError, match=r"PEFT must load adapters on .*incompatible with Mamba"):
        checked(folder, change=forget_refusal)
