"""Weights of the files that a model has no place for."""

import pytest
from transformers import AutoConfig

from loratory.objectives.qlora.base.checks.unused_weights import harmless_reason

TWO_LAYERS = AutoConfig.for_model("llama", num_hidden_layers=2)
THIRD_PREDICTS = AutoConfig.for_model("llama", num_hidden_layers=2, num_nextn_predict_layers=1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "buffers"),
        ("transformer.h.0.attn.bias", "buffers"),
        ("gpt_neox.layers.1.attention.masked_bias", "buffers"),
        ("vision_tower.encoder.layers.0.fc1.weight", "towers for images or sound"),
        ("model.visual.blocks.0.attn.qkv.weight", "towers for images or sound"),
        ("multi_modal_projector.linear_1.weight", "towers for images or sound"),
        ("mtp.layers.0.mlp.up_proj.weight", "heads for multi-token prediction"),
        ("model.mtp_layers.0.norm.weight", "heads for multi-token prediction"),
        ("v_head.summary.weight", "heads of reward models"),
    ],
)
def test_what_a_text_never_passes_is_harmless(name, reason):
    assert harmless_reason(name, TWO_LAYERS) == reason


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.self_attn.q_proj.lora_A.default.weight",
        "model.layers.0.mlp.up_proj.weight_scale",
        "model.norm.bias",
    ],
)
def test_what_may_belong_to_the_model_is_not(name):
    assert harmless_reason(name, TWO_LAYERS) is None


def test_layers_behind_the_last_are_harmless_as_many_as_the_configuration_says():
    behind, farther = (f"model.layers.{place}.eh_proj.weight" for place in (2, 3))
    assert harmless_reason(behind, THIRD_PREDICTS) == "heads for multi-token prediction"
    assert harmless_reason(farther, THIRD_PREDICTS) is None
