"""The class of a base, and a model of it without weights."""

import pytest
from transformers import AutoConfig

from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import auto_mapping, build_skeleton, model_loader
from loratory.spaces.errors import InputError

REFERENCE = BaseReference(location="/x", revision=None, published_name=None, trust_remote_code=False)
SMALL = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("kind", "published", "loader"),
    [
        ("llama", "LlamaForCausalLM", "AutoModelForCausalLM"),
        ("llama", "LlamaModel", "AutoModelForCausalLM"),  # saved without its head
        ("llama", None, "AutoModelForCausalLM"),
        ("gemma3", "Gemma3ForConditionalGeneration", "AutoModelForCausalLM"),
        ("mistral3", "Mistral3ForConditionalGeneration", "AutoModelForImageTextToText"),
        ("mistral3", None, "AutoModelForImageTextToText"),
        ("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", "AutoModelForImageTextToText"),
        # AutoModelForCausalLM has a class of its own for it, with other names of layers.
        ("qwen3_5", "Qwen3_5ForConditionalGeneration", "AutoModelForImageTextToText"),
        ("qwen3_5_text", "Qwen3_5ForCausalLM", "AutoModelForCausalLM"),
    ],
)
def test_a_base_is_loaded_as_the_class_it_was_published_with(kind, published, loader):
    config = AutoConfig.for_model(kind, architectures=[published] if published else None)
    assert model_loader(config).__name__ == loader


def test_a_skeleton_takes_no_memory_and_names_its_class_where_it_must():
    text = AutoConfig.for_model("llama", **SMALL)
    model = build_skeleton(text, REFERENCE)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert auto_mapping(text, model) is None
    config = AutoConfig.for_model("llava", text_config=SMALL | {"model_type": "llama"})
    assert auto_mapping(config, build_skeleton(config, REFERENCE)) == {
        "base_model_class": "LlavaForConditionalGeneration",
        "parent_library": "transformers.models.llava.modeling_llava",
    }


def test_what_is_no_language_model_is_refused():
    with pytest.raises(InputError, match=r"model\.base: /x must be a causal language model: Unrecognized"):
        build_skeleton(AutoConfig.for_model("vit"), REFERENCE)
