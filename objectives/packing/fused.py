"""Fused layers for a model on a GPU: rotary embedding and gated unit from liger-kernel (Hsu et al., 2024).

The norms are those of `kernels/norm_triton.py`, which compute no gradient for the frozen weights.
"""

import importlib.util
import inspect
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from loratory.objectives.packing.model import is_of_transformers

_CLASS_PREFIXES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def fuse(model: Any) -> None:
    """Replace forward methods of one model's layers by fused ones; other models of its class keep theirs.

    Does nothing for other model types, for code that comes with a base, on a CPU, and without liger-kernel.
    On the meta device the twins that only allocate take the places of the fused ones.
    """
    prefix, kernels = _CLASS_PREFIXES.get(model.config.model_type), _kernels(model.device)
    if prefix is None or kernels is None:
        return
    if not is_of_transformers(model):
        return
    parts = {
        f"{prefix}RMSNorm": _norm,
        f"{prefix}Attention": _attention,
        **({f"{prefix}MLP": _gated_unit} if model.config.hidden_act == "silu" else {}),
        f"{prefix}DecoderLayer": _decoder_layer,
    }
    for module in model.modules():
        if (forward := parts.get(type(module).__name__)) is not None:
            module.forward = forward(module, kernels)


class _Kernels(NamedTuple):
    """The fused functions for a device.

    Attributes:
        norms: the module with the norms.
        gated_unit: computes silu(gate) * up.
        rotary: the rotary embedding of query and key.
    """

    norms: Any
    gated_unit: Callable[..., Any]
    rotary: Callable[..., Any]


def _kernels(device: torch.device) -> _Kernels | None:
    """Return the fused functions for a device; None where there are none."""
    if device.type == "meta":
        from loratory.objectives.packing.kernels import dry

        return _Kernels(dry, dry.gated_unit, dry.rotary)
    if device.type != "cuda" or importlib.util.find_spec("liger_kernel") is None:
        return None
    from liger_kernel.ops import LigerSiLUMulFunction
    from liger_kernel.transformers.rope import liger_rotary_pos_emb

    from loratory.objectives.packing.kernels import norm_triton

    return _Kernels(norm_triton, LigerSiLUMulFunction.apply, liger_rotary_pos_emb)


def _checkpoints(layer: Any) -> bool:
    """Return whether a layer checkpoints its activations now."""
    return bool(layer.training and getattr(layer, "gradient_checkpointing", False))


def _norm(module: Any, kernels: _Kernels) -> Any:
    """Return a forward method for an RMSNorm."""
    return lambda hidden_states: kernels.norms.rms_norm(hidden_states, module.weight, module.variance_epsilon)


def _decoder_layer(module: Any, kernels: _Kernels) -> Any:
    """Return a forward method for a decoder layer, with two fusions.

    The sum after attention and the norm that follows it are one kernel; so are the sum of the two gradients
    of the layer's input and the backward pass of the first norm. While the layer checkpoints its activations,
    its own forward method runs, which does that.
    """
    norms, own = kernels.norms, type(module).forward

    def forward(hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        if _checkpoints(module):
            return own(module, hidden_states, **given)  # type: ignore[no-any-return]
        norm = module.input_layernorm
        x, beside = norms.rms_norm_beside(hidden_states, norm.weight, norm.variance_epsilon)
        attended, _ = module.self_attn(hidden_states=x, **given)
        norm = module.post_attention_layernorm
        x, residual = norms.add_rms_norm(attended, beside, norm.weight, norm.variance_epsilon)
        return residual + module.mlp(x)  # type: ignore[no-any-return]

    return forward


def _gated_unit(module: Any, kernels: _Kernels) -> Any:
    """Return a forward method for a gated unit (SwiGLU)."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        product = kernels.gated_unit(module.gate_proj(x), module.up_proj(x))
        return module.down_proj(product)  # type: ignore[no-any-return]

    return forward


def _attention(module: Any, kernels: _Kernels) -> Any:
    """Return the module's own forward method with the fused rotary embedding among its globals."""
    own = inspect.unwrap(type(module).forward)
    names = own.__globals__ | {"apply_rotary_pos_emb": kernels.rotary}
    copied = types.FunctionType(own.__code__, names, own.__name__, own.__defaults__, own.__closure__)
    copied.__kwdefaults__ = own.__kwdefaults__
    return partial(copied, module)
