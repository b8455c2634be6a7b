"""Bases that are refused for their configuration alone."""

import pytest
from transformers import AutoConfig

from loratory.objectives.qlora.base.checks.configuration import refuse_by_configuration
from loratory.spaces.errors import InputError

BOTH_WAYS = "tokens see those that follow them"


@pytest.mark.parametrize(
    ("kind", "changes", "finding"),
    [
        ("bart", {}, "a decoder alone, bart is an encoder-decoder"),
        ("mbart", {}, "an encoder-decoder"),
        ("marian", {}, "an encoder-decoder"),
        ("t5", {}, "an encoder-decoder"),
        ("bert", {}, "bert with is_decoder: false is an encoder"),
        ("roberta", {}, "is an encoder"),
        ("xlm-roberta", {}, "is an encoder"),
        ("electra", {}, "is an encoder"),
        ("xlnet", {}, BOTH_WAYS),
        ("gemma3_text", {"use_bidirectional_attention": True}, BOTH_WAYS),
        ("qwen2", {"is_causal": False}, BOTH_WAYS),
        ("gemma3", {"text_config": {"use_bidirectional_attention": True}}, BOTH_WAYS),
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "saved with a head for labels"),
        ("llama", {"architectures": ["LlamaForTokenClassification"]}, "saved with a head for labels"),
        ("llama", {"architectures": ["LlamaForQuestionAnswering"]}, "saved with a head for labels"),
        ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "unquantised"),
    ],
)
def test_other_models_are_refused_in_a_sentence_with_a_remedy(kind, changes, finding):
    with pytest.raises(InputError, match=finding) as caught:
        refuse_by_configuration(AutoConfig.for_model(kind, **changes), "/x/base")
    assert str(caught.value).startswith("model.base: /x/base must be ")
    assert "; take " in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"architectures": ["LlamaForCausalLM"]}),
        ("llama", {"architectures": ["LlamaModel"]}),
        ("llama", {"is_decoder": False}),  # written by old versions, read by no code
        ("gpt_neox", {}),  # its class has `is_decoder`, which nothing reads
        ("bert", {"is_decoder": True}),
        ("gemma3", {}),
        ("qwen2_vl", {}),
        ("falcon_h1", {}),
    ],
)
def test_decoders_are_not_refused(kind, changes):
    refuse_by_configuration(AutoConfig.for_model(kind, **changes), "/x/base")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers in .* must be from 1 to 1,000, is 0"),
        ({"num_hidden_layers": -2}, "must be from 1 to 1,000, is -2"),
        ({"num_hidden_layers": 10**6}, "must be from 1 to 1,000, is 1000000"),
        ({"hidden_size": 0}, "hidden_size in .* must be at least 1, is 0"),
        (
            {"vocab_size": 0, "bos_token_id": None, "eos_token_id": None},
            "vocab_size in .* must be at least 1",
        ),
    ],
)
def test_sizes_of_no_model_are_refused(changes, finding):
    with pytest.raises(InputError, match=finding):
        refuse_by_configuration(AutoConfig.for_model("llama", **changes), "/x/base")
