"""A frozen model with random weights, in nf4 or not quantised, made on the device one layer at a time."""

import copy
from typing import Any

import torch

from loratory.objectives.qlora.base.formats.nf4 import keep_weights_in_place
from loratory.spaces.model import Quantization
from packing_cells.shapes import ModelShape

_STANDARD_DEVIATION = 0.02  # what Llama's weights are drawn with


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of activations: bf16 on a GPU; fp32 on a CPU, which is slow at bf16."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def build_model(
    shape: ModelShape,
    *,
    device: torch.device,
    seed: int = 0,
    quantization: Quantization = Quantization.NF4,
    repeated: bool = False,
) -> Any:
    """Build a random model, in nf4 with double quantisation (QLoRA; Dettmers et al., 2023) or not quantised.

    In nf4 no more than one layer's weights are ever there unquantised, so that a model fits where its nf4
    form does.

    Args:
        shape: the sizes.
        device: where it is made.
        seed: of the weights.
        quantization: format of the linear layers.
        repeated: draw and quantise one matrix of each size and copy it to all layers, where memory and time
            are measured and values do not matter: 7B then takes a second instead of ten.

    Returns:
        A `LlamaForCausalLM`, frozen, for evaluation; in nf4 its linear layers are bitsandbytes' `Linear4bit`.
        All else is in `compute_dtype`.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    dtype = compute_dtype(device)
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(
            shape.configuration(), dtype=dtype, attn_implementation="sdpa"
        )
    generator = torch.Generator(device).manual_seed(seed)
    if quantization is Quantization.NF4:
        _fill_linear_layers(model, generator, dtype, repeated=repeated)
    _fill_the_rest(model, generator, dtype)
    if quantization is Quantization.NF4:
        keep_weights_in_place(model)
        model.is_loaded_in_4bit = True  # by this PEFT knows that its 4-bit adapter layers are wanted
    return model.to(device).requires_grad_(False).eval()


def linear_layers(model: Any) -> list[str]:
    """Full names of the linear layers, quantised or not; the output head is not among them."""
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]


def _fill_linear_layers(
    model: Any, generator: torch.Generator, dtype: torch.dtype, *, repeated: bool
) -> None:
    first: dict[torch.Size, Any] = {}
    for name in linear_layers(model):
        linear = model.get_submodule(name)
        size = linear.weight.shape
        quantized = _empty_linear(linear, dtype)
        if repeated and size in first:
            quantized.weight = copy.deepcopy(first[size])
        else:
            quantized.weight = first[size] = _quantized_weight(size, generator, dtype)
        quantized.weight.module, quantized.quant_state = quantized, quantized.weight.quant_state
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, quantized)


def _empty_linear(linear: torch.nn.Linear, dtype: torch.dtype) -> Any:
    import bitsandbytes

    return bitsandbytes.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=False,
        compute_dtype=dtype,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )


def _quantized_weight(size: torch.Size, generator: torch.Generator, dtype: torch.dtype) -> Any:
    import bitsandbytes

    weight = bitsandbytes.nn.Params4bit(
        _random(size, generator, dtype),
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
    )
    return weight.to(generator.device)


def _fill_the_rest(model: Any, generator: torch.Generator, dtype: torch.dtype) -> None:
    """Draw embeddings and head, set norms to one; tied matrices are one tensor."""
    for module in list(model.modules()):
        weight = getattr(module, "weight", None)
        if weight is None or not weight.is_meta:
            continue
        filled = (
            torch.ones(weight.shape, dtype=dtype, device=generator.device)
            if weight.dim() == 1
            else _random(weight.shape, generator, dtype)
        )
        module.weight = torch.nn.Parameter(filled, requires_grad=False)
    if model.config.tie_word_embeddings:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight


def _random(size: torch.Size, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    values = torch.empty(size, dtype=dtype, device=generator.device)
    return values.normal_(0.0, _STANDARD_DEVIATION, generator=generator)
