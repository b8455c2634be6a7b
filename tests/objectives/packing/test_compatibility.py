import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.packing.compatibility import PackingProbe
from loratory.objectives.packing.linear import FrozenWeight
from loratory.objectives.packing.model import PackedModel

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


class LlamaForCausalLM(transformers.LlamaForCausalLM):
    """A class with the name of transformers' own, as code that comes with a base may have it."""

    def forward(self, *given, **options):
        output = super().forward(*given, **options)
        output.logits = output.logits / 2
        return output


def why_not(kind, **changes):
    config = AutoConfig.for_model(kind, **SIZES | changes)
    return why_not_packed(AutoModelForCausalLM.from_config(config).eval())


def why_not_packed(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    trial, head = PackingProbe(model, CPU), model.get_output_embeddings()
    layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    packed = PackedModel(
        model, layers, device=CPU, compute_dtype=torch.float32, frozen_weight=FrozenWeight.dense
    )
    return trial.why_not(packed)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("mistral", {"sliding_window": 3}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
        ("gpt_neox", {}),
        ("olmo2", {}),
        ("phi3", {}),
        ("mixtral", {}),
    ],
)
def test_models_whose_sequences_may_stand_in_one_row(kind, changes):
    assert why_not(kind, **changes) is None


def test_a_class_of_the_same_name_keeps_its_own_head():
    config = AutoConfig.for_model("llama", **SIZES)
    assert why_not_packed(LlamaForCausalLM(config).eval()) is None


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("bloom", {}, "see each other"),
        ("falcon", {"alibi": True}, "see each other"),
        ("mamba", {}, "see each other"),
        ("gemma2", {"head_dim": 16}, "softcap"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rotary"),
    ],
)
def test_models_that_need_rows_apart_say_why(kind, changes, reason):
    assert reason in why_not(kind, **changes)
