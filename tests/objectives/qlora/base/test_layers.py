"""Layers that carry adapters, and those that must not."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig

from loratory.objectives.qlora.base.architecture import Architecture, read_architecture
from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.base.layers import find_layers
from loratory.objectives.qlora.base.reference import BaseReference, resolve_base
from loratory.objectives.qlora.base.skeleton import build_skeleton
from loratory.spaces.errors import InputError
from loratory.spaces.model import ModelSpec

REFERENCE = BaseReference(location="/x", revision=None, published_name=None, trust_remote_code=False)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}
LLAMA = {"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}


@pytest.fixture
def llama():
    return build_skeleton(AutoConfig.for_model("llama", **SIZES), REFERENCE)


def linear():
    return nn.Linear(64, 64, bias=False, device="meta")


def read(folder):
    return read_architecture(resolve_base(ModelSpec(base=str(folder))))


def test_numbers_in_lists_are_targets_by_their_full_names(llama):
    llama.model.projections = nn.ModuleList([linear(), linear()])
    found = find_layers(llama, "/x", NF4.words)
    assert {"model.projections.0", "model.projections.1"} <= set(found.linear)
    assert "model.layers.0" in found.others


@pytest.mark.parametrize("name", ["router", "modality_router"])
def test_routers_get_no_adapter_and_are_told(llama, name):
    setattr(llama.model.layers[0].mlp, name, linear())
    found = find_layers(llama, "/x", NF4.words)
    assert found.left_out == {name: "a router"}
    assert len(found.linear) == 2 * 7


def test_a_gate_with_an_output_per_expert_is_a_router(llama):
    llama.config.num_experts = 64
    llama.model.layers[0].mlp.gate = linear()
    assert find_layers(llama, "/x", NF4.words).left_out == {"gate": "a router"}


def test_towers_get_no_adapter(llama):
    llama.model.vision_tower = nn.ModuleDict({"q_proj": linear()})
    found = find_layers(llama, "/x", NF4.words)
    assert len(found.linear) == 2 * 7
    assert "model.vision_tower.q_proj" in found.others


@pytest.mark.parametrize("kind", ["Gemma3", "Mistral3"])
def test_all_linear_of_a_multimodal_release_matches_its_text_part_alone(multimodal_folder, kind):
    found = read(multimodal_folder(kind))
    assert found.text_part == "model.language_model"
    assert found.notes == (
        f"base: {kind}ForConditionalGeneration is tuned in its text part alone, model.language_model",
    )
    targets = found.targets("all-linear")
    assert {target.rpartition(".")[2] for target in targets} == LLAMA
    ends = tuple(f".{target}" for target in targets)
    assert not [name for name in found.other_modules if name in targets or name.endswith(ends)]
    assert len(found.layers_of(targets)) == len(found.linear_layers) == 2 * 7
    assert found.max_positions == 256
    # Names of the user's are made unambiguous too.
    assert set(found.targets(("q_proj",))) == {
        f"model.language_model.layers.{place}.self_attn.q_proj" for place in range(2)
    }


def test_parameters_of_towers_are_no_experts(llama):
    llama.model.vision_tower = nn.Module()
    llama.model.vision_tower.probe = nn.Parameter(torch.empty(1, 1, 64, device="meta"))
    assert find_layers(llama, "/x", NF4.words).experts is None


def test_names_that_peft_refuses_by_the_type_are_left_out_and_told(base_folder):
    sizes = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
    found = read(base_folder("falcon_h1", **sizes))
    assert set(found.targets("all-linear")) == LLAMA | {"in_proj"}
    assert found.notes == ("base: no adapters on out_proj (PEFT refuses it on falcon_h1)",)
    with pytest.raises(InputError, match=r"'out_proj' matches none that can be adapted \(PEFT refuses it on"):
        found.targets(("out_proj",))


def test_a_model_of_other_layers_is_refused_with_their_name():
    model = build_skeleton(AutoConfig.for_model("gpt2", n_embd=64, n_layer=1, n_head=4), REFERENCE)
    with pytest.raises(
        InputError, match="must have linear layers and an output head, has GPT-2's Conv1D; take"
    ):
        find_layers(model, "/x", NF4.words)


def test_numbers_are_shown_with_the_list_that_holds_them():
    config = AutoConfig.for_model(
        "gemma3n_text",
        **SIZES,
        head_dim=16,
        layer_types=["sliding_attention", "full_attention"],
        num_kv_shared_layers=0,
        activation_sparsity_pattern=[0.0, 0.0],
        altup_num_inputs=2,
    )
    layers = find_layers(build_skeleton(config, REFERENCE), "/x", NF4.words)
    found = Architecture(
        name="/x", linear_layers=layers.linear, other_modules=layers.others, max_positions=None
    )
    targets = found.targets("all-linear")
    assert "model.altup_projections.0" in targets
    assert not [target for target in targets if target.isdigit() or target.endswith("router")]
    with pytest.raises(InputError, match=r"'c_attn' matches none; there are altup_projections\.0, "):
        found.targets(("c_attn",))
