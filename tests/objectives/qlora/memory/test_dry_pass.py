import copy

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen3Config,
)

from loratory.objectives.packing.kernels import dry
from loratory.objectives.packing.live_bytes import LiveBytes
from loratory.objectives.qlora.memory import dry_pass as module
from loratory.objectives.qlora.memory.dry_pass import ActivationCurve, pass_activations
from loratory.objectives.qlora.memory.engine_size import StackSize

SIZES = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "vocab_size": 32_000,
    "num_hidden_layers": 6,
}


def llama(**changes):
    return LlamaConfig(**(SIZES | {"num_key_value_heads": 2} | changes))


def build(configuration):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(configuration)


def counted(configuration, *, rank=8, dropout=False, longest=64):
    model = build(copy.deepcopy(configuration))
    head = model.get_output_embeddings()
    layers = {
        name: (linear.in_features, linear.out_features)
        for name, linear in model.named_modules()
        if isinstance(linear, torch.nn.Linear) and linear is not head
    }
    stack = StackSize(layers=layers, rank=rank, dropout=dropout)
    return pass_activations(build, configuration, stack, dtype=torch.bfloat16, longest=longest)


def test_a_llama_keeps_what_its_fused_layers_keep():
    """By hand: what a layer of a fused Llama keeps for its backward pass, per token."""
    found, more = counted(llama()).training, counted(llama(num_hidden_layers=7)).training
    h, kv, inner, rank = 256, 128, 512, 8
    halves = (
        2 * h + (2 * h + 2 * kv) + h + h + 3 * inner
    )  # norms and their inputs, q k v and output, gated unit
    halves += 7 * rank  # x A of seven layers
    numbers_in_fp32 = 4 + 2  # sums of attention by head, scales of two norms
    per_token = (more(4096) - found(4096)) / 4096
    assert per_token == pytest.approx(2 * halves + 4 * numbers_in_fp32, rel=0.01)


def test_checkpointing_keeps_the_input_of_a_layer_alone():
    found, more = counted(llama()).checkpointed, counted(llama(num_hidden_layers=7)).checkpointed
    assert (more(4096) - found(4096)) / 4096 == pytest.approx(2 * 256, rel=0.01)
    passes = counted(llama())
    assert passes.forward(4096) < passes.training(4096) * 1.1 and found(4096) < passes.training(4096)


@pytest.mark.parametrize(
    "configuration",
    [
        llama(),
        Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=64),
        Gemma3TextConfig(**SIZES, num_key_value_heads=2, head_dim=64),
        GPTNeoXConfig(**SIZES),
    ],
    ids=lambda configuration: configuration.model_type,
)
def test_two_shallow_models_tell_what_the_whole_one_takes(monkeypatch, configuration):
    shallow = counted(configuration)
    monkeypatch.setattr(module, "_depths", lambda given: [given.get_text_config().num_hidden_layers])
    whole = counted(configuration)
    for kind in ("training", "checkpointed", "forward"):
        for (tokens, size), (same, expected) in zip(
            getattr(shallow, kind).points, getattr(whole, kind).points, strict=True
        ):
            assert tokens == same and size == pytest.approx(expected, rel=0.02, abs=2**17)


def test_attention_that_packs_lack_is_counted_in_rows_apart():
    soft_cap = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=64)
    short, long = counted(soft_cap, longest=64), counted(soft_cap, longest=512)
    assert long.training(1024) > short.training(1024)  # eager attention grows with the square of the length


def test_rank_and_dropout_are_counted():
    assert counted(llama(), rank=64).training(4096) > counted(llama(), rank=8).training(4096)


def test_a_curve_is_linear_between_and_past_its_points():
    curve = ActivationCurve(((100, 1000), (200, 3000), (300, 3500)))
    assert [curve(tokens) for tokens in (50, 100, 150, 250, 400)] == [0, 1000, 2000, 3250, 4000]


def test_twins_allocate_what_the_kernels_do():
    x = torch.empty(10, 6, device="meta")
    a, b = torch.empty(2, 4, 6, device="meta"), torch.empty(2, 4, 8, device="meta")
    scaling = torch.empty(2, 1, 1, device="meta")
    with LiveBytes() as live:
        shrunk = dry.shrink(x, a, None, scaling=scaling)
        assert shrunk.shape == (10, 4)
        assert dry.expand(shrunk, b, None).shape == (10, 8)
        wide = torch.empty(10, 8, device="meta")
        assert dry.expand(shrunk, b, None, into=wide) is wide
    assert live.peak == 2 * 512
