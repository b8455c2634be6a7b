"""Each format of a base, on a loaded one: what its layers are, how a pack reads them, what they take."""

import bitsandbytes
import pytest
import torch

from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.model import Quantization

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture
def load(make_study):
    """A function: settings of the model to the loaded base, the names of its layers, and the settings."""

    def load(**changes):
        model = make_study(model=changes).model
        reference = resolve_base(model)
        return load_base(model, reference), read_architecture(reference).linear_layers, model

    return load


def packed(base, layers):
    return PackedModel(
        base.model,
        layers,
        device=base.device,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_unquantised_base_is_read_where_it_lies_and_never_held_twice(load, dtype):
    base, layers, _ = load(quantization="none", compute_dtype=dtype)
    assert not any(isinstance(m, bitsandbytes.nn.Linear4bit) for m in base.model.modules())
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    weights = {name: base.model.get_submodule(name).weight for name in layers}
    assert {weight.dtype for weight in weights.values()} == {DTYPES[dtype]}
    model = packed(base, layers)
    assert model.held_bytes == 0
    model.hold_base()
    for name, weight in weights.items():
        frozen = model.model.get_submodule(name).frozen
        assert frozen.held is None and frozen().data_ptr() == weight.data_ptr()
        assert torch.equal(frozen(), weight)


def test_an_nf4_base_is_dequantised_and_can_be_held(load):
    base, layers, _ = load()
    linear = {name: base.model.get_submodule(name) for name in layers}
    model = packed(base, layers)
    assert model.held_bytes == 4 * sum(inputs * outputs for inputs, outputs in layers.values())
    for name, module in linear.items():
        assert module.weight.quant_state.quant_type == "nf4"
        expected = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        assert torch.equal(model.model.get_submodule(name).frozen(), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization": "none", "compute_dtype": "fp32"},
        {"quantization": "none", "compute_dtype": "bf16"},
        {"double_quantization": False},
        {"double_quantization": True},
    ],
    ids=str,
)
def test_a_layer_takes_the_bytes_that_its_format_says(load, base_folder, changes):
    folder = base_folder(hidden_size=128, intermediate_size=256)  # whole blocks of both quantisations
    base, _, model = load(base=str(folder), **changes)
    weight = base.model.model.layers[0].mlp.up_proj.weight
    state = getattr(weight, "quant_state", None)
    taken = weight.nbytes
    if state is not None:
        nested = state.state2.absmax.nbytes if state.nested else 0
        taken += state.absmax.nbytes + nested
    said = format_of(model.quantization).bytes_per_weight(model, base.compute_dtype.itemsize)
    assert taken == said * 128 * 256


@pytest.mark.parametrize("quantization", Quantization)
def test_code_of_a_model_card_loads_what_trials_had(load, base_folder, quantization):
    base, _, model = load(quantization=quantization)
    code = format_of(quantization).loading_code(model)
    names = ", ".join(("AutoModelForCausalLM", *code.imports))
    scope = {"torch": torch, "dtype": torch.float32}
    text = f"from transformers import {names}\n{code.setup}base = AutoModelForCausalLM.from_pretrained(\n"
    exec(text + f"    {str(base_folder())!r}, {code.argument}dtype=dtype\n)", scope)
    mine, theirs = (m.model.layers[0].mlp.up_proj for m in (base.model, scope["base"]))
    assert type(mine) is type(theirs) and torch.equal(mine.weight, theirs.weight)
