"""Fused layers for a model on a GPU: rotary embedding and gated unit from liger-kernel (Hsu et al., 2024).

The norms are those of `kernels/norm_triton.py`, which compute no gradient for the frozen weights.
"""

import importlib.util
import inspect
import types
from functools import partial
from typing import Any

import torch

from loratory.objectives.packing.model import is_of_transformers

_CLASS_PREFIXES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def fuse(model: Any) -> None:
    """Replace forward methods of one model's layers by fused ones; other models of its class keep theirs.

    Does nothing for other model types, for code that comes with a base, on a CPU, and without liger-kernel.
    """
    prefix = _CLASS_PREFIXES.get(model.config.model_type)
    if prefix is None or model.device.type != "cuda" or importlib.util.find_spec("liger_kernel") is None:
        return
    if not is_of_transformers(model):
        return
    parts = {
        f"{prefix}RMSNorm": _norm,
        f"{prefix}Attention": _attention,
        **({f"{prefix}MLP": _gated_unit} if model.config.hidden_act == "silu" else {}),
    }
    if not _checkpoints(model):  # checkpointing wraps the layer's own forward method
        parts[f"{prefix}DecoderLayer"] = _decoder_layer
    for module in model.modules():
        if (forward := parts.get(type(module).__name__)) is not None:
            module.forward = forward(module)


def _checkpoints(model: Any) -> bool:
    """Return whether the model checkpoints activations."""
    # The second name is that before transformers 5.20.
    name = "is_activation_checkpointing"
    return bool(getattr(model, name) if hasattr(model, name) else model.is_gradient_checkpointing)


def _norm(module: Any) -> Any:
    """Return a forward method for an RMSNorm."""
    from loratory.objectives.packing.kernels.norm_triton import rms_norm

    return lambda hidden_states: rms_norm(hidden_states, module.weight, module.variance_epsilon)


def _decoder_layer(module: Any) -> Any:
    """Return a forward method for a decoder layer, with two fusions.

    The sum after attention and the norm that follows it are one kernel; so are the sum of the two gradients
    of the layer's input and the backward pass of the first norm.
    """
    from loratory.objectives.packing.kernels.norm_triton import add_rms_norm, rms_norm_beside

    def forward(hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        norm = module.input_layernorm
        x, beside = rms_norm_beside(hidden_states, norm.weight, norm.variance_epsilon)
        attended, _ = module.self_attn(hidden_states=x, **given)
        norm = module.post_attention_layernorm
        x, residual = add_rms_norm(attended, beside, norm.weight, norm.variance_epsilon)
        return residual + module.mlp(x)  # type: ignore[no-any-return]

    return forward


def _gated_unit(module: Any) -> Any:
    """Return a forward method for a gated unit (SwiGLU)."""
    from liger_kernel.ops import LigerSiLUMulFunction

    def forward(x: torch.Tensor) -> torch.Tensor:
        product = LigerSiLUMulFunction.apply(module.gate_proj(x), module.up_proj(x))
        return module.down_proj(product)  # type: ignore[no-any-return]

    return forward


def _attention(module: Any) -> Any:
    """Return the module's own forward method with liger-kernel's rotary embedding among its globals."""
    from liger_kernel.transformers.rope import liger_rotary_pos_emb

    own = inspect.unwrap(type(module).forward)
    names = own.__globals__ | {"apply_rotary_pos_emb": liger_rotary_pos_emb}
    copied = types.FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)
    copied.__kwdefaults__ = own.__kwdefaults__
    return partial(copied, module)
