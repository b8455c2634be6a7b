"""Shapes, random nf4 models, workloads and the Trainer reference, on a CPU."""

import statistics
from dataclasses import replace

import pytest
import torch
from packing_cells.decoding import DecodeLoad, measure_decode_reference
from packing_cells.measured import Options
from packing_cells.models import build_model, linear_layers
from packing_cells.shapes import SHAPES, ModelShape
from packing_cells.trainer import Collator, measure_trainer
from packing_cells.workload import LOGNORMAL, fixed, trial_examples

from loratory.spaces.model import Quantization

CPU = torch.device("cpu")
SMALL = ModelShape(
    name="small",
    layers=2,
    hidden=64,
    intermediate=128,
    heads=4,
    key_value_heads=2,
    vocabulary=300,
    positions=512,
)


@pytest.mark.parametrize("tied", [False, True])
def test_a_random_model_computes_what_its_dequantised_weights_compute(tied):
    import bitsandbytes

    model = build_model(replace(SMALL, tied=tied), device=CPU, seed=3)
    linear = {n: m for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert len(linear) == 7 * SMALL.layers
    ids = torch.arange(2, 26).view(2, 12)
    logits = model(input_ids=ids).logits
    for name, module in linear.items():
        dense = torch.nn.Linear(module.in_features, module.out_features, bias=False)
        dense.weight.data = bitsandbytes.functional.dequantize_4bit(
            module.weight.data, module.weight.quant_state
        )
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, dense)
    torch.testing.assert_close(logits, model(input_ids=ids).logits, rtol=1e-4, atol=1e-5)
    assert logits.std() > 0.01
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied


def test_a_random_model_that_is_not_quantised_is_dense_and_frozen():
    model = build_model(SMALL, device=CPU, seed=1, quantization=Quantization.NONE)
    layers = [model.get_submodule(name) for name in linear_layers(model)]
    assert len(layers) == 7 * SMALL.layers
    assert all(type(layer) is torch.nn.Linear and layer.weight.dtype is torch.float32 for layer in layers)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert model(input_ids=torch.arange(2, 26).view(2, 12)).logits.std() > 0.01


def test_a_random_model_is_frozen_nf4_and_made_of_its_seed():
    one, same, other = (build_model(SMALL, device=CPU, seed=seed) for seed in (1, 1, 2))
    weights = [model.model.layers[0].self_attn.q_proj.weight for model in (one, same, other)]
    assert weights[0].dtype == torch.uint8
    assert weights[0].quant_state.quant_type == "nf4"
    assert weights[0].quant_state.nested
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not any(parameter.requires_grad for parameter in one.parameters())
    assert not any(tensor.is_meta for tensor in (*one.parameters(), *one.buffers()))
    assert not one.training


@pytest.mark.parametrize(
    ("name", "total"), [("tiny", 2_560_000), ("1b", 1.10e9), ("7b", 6.74e9), ("llama32-1b", 1.236e9)]
)
def test_shapes_have_the_parameters_of_the_models_they_stand_for(name, total):
    from transformers import AutoModelForCausalLM

    shape = SHAPES[name]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape.configuration())
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    assert shape.matmul_parameters == linear
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(total, rel=0.003)


@pytest.mark.parametrize(("tokens", "batch", "length"), [(256, 2, 128), (512, 4, 128), (8192, 32, 256)])
def test_fixed_lengths_give_the_tokens_of_a_step(tokens, batch, length):
    examples = trial_examples(fixed(tokens), SMALL, steps=2, seed=0)
    assert [len(example) for example in examples] == [length] * (2 * batch)
    assert all(len(example.prompt_ids) == length // 4 for example in examples)
    assert all(2 <= token < SMALL.vocabulary for token in examples[0].prompt_ids)


def test_a_trial_is_made_of_its_seed():
    one, same, other = (trial_examples(LOGNORMAL, SMALL, steps=2, seed=seed) for seed in (5, 5, 6))
    assert one == same
    assert one[0].answer_ids != other[0].answer_ids


def test_lognormal_lengths_have_their_median_and_tail():
    shape = replace(SMALL, positions=10**6)
    lengths = sorted(len(e) for e in trial_examples(LOGNORMAL, shape, steps=1500, seed=0))
    assert statistics.median(lengths) == pytest.approx(180, rel=0.05)
    assert lengths[int(0.99 * len(lengths))] == pytest.approx(1500, rel=0.15)
    assert statistics.mean(lengths) * LOGNORMAL.batch_size == pytest.approx(LOGNORMAL.mean_tokens, rel=0.05)
    assert max(len(e) for e in trial_examples(LOGNORMAL, SMALL, steps=200, seed=0)) == SMALL.positions


@pytest.mark.parametrize("tokens", [100, 300, 0])
def test_tokens_that_are_no_whole_examples_are_refused(tokens):
    with pytest.raises(ValueError, match=f"multiple of 128, got {tokens}"):
        fixed(tokens)


def test_a_batch_is_padded_to_its_longest_and_counts_what_is_useful():
    collator = Collator(padding_id=1)
    batch = collator(
        [{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [7, 8, 9], "labels": [-100, 8, 9]}]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 1], [7, 8, 9]]
    assert batch["labels"].tolist() == [[-100, 6, -100], [-100, 8, 9]]
    assert collator.useful_tokens == [5]


@pytest.mark.parametrize("workload", [fixed(256), LOGNORMAL])
def test_trainer_steps_run_and_only_those_after_the_warmup_are_counted(workload):
    measured = measure_trainer(SMALL, workload, steps=3, options=Options(device=CPU, warmup_steps=2))
    assert (measured.trials, measured.steps) == (1, 3)
    tokens = measured.tokens_per_second * measured.seconds
    if workload.length is not None:
        assert tokens == pytest.approx(3 * 256)
    assert tokens < sum(len(e) for e in trial_examples(workload, SMALL, steps=5, seed=0))
    assert measured.peak_memory_bytes > 10**7


def test_generate_in_turn_decodes_every_prompt_of_every_adapter():
    load = DecodeLoad(adapters=2, prompts=3, prompt_tokens=8, new_tokens=4)
    measured = measure_decode_reference(SMALL, load, options=Options(device=CPU))
    assert measured.tokens_per_second * measured.seconds == pytest.approx(2 * 3 * 4)
