"""The choice between a Triton kernel, its plain twin, and the twin that only allocates."""

import importlib.util
from functools import cache
from types import ModuleType

import torch

from loratory.objectives.packing.kernels import adamw_8bit, cached_attention, cross_entropy, products
from loratory.objectives.packing.segments import Segments


def uses_triton(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether Triton kernels do the work: on a GPU with Triton installed, except in fp64."""
    return device.type == "cuda" and dtype is not torch.float64 and _has_triton()


def products_for(segments: Segments, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """Return the module with the adapters' three products for some segments, device and dtype."""
    if device.type == "meta":
        return _dry()
    # The Triton kernels read blocks, which `Segments.whole` has not.
    if not (segments.granule and uses_triton(device, dtype)):
        return products
    from loratory.objectives.packing.kernels import products_triton

    return products_triton


def cross_entropy_for(device: torch.device, dtype: torch.dtype) -> ModuleType:
    """Return the module with the cross-entropy for logits of a device and dtype."""
    if device.type == "meta":
        return _dry()
    if not uses_triton(device, dtype):
        return cross_entropy
    from loratory.objectives.packing.kernels import cross_entropy_triton

    return cross_entropy_triton


def cached_attention_for(device: torch.device, dtype: torch.dtype) -> ModuleType:
    """Return the module with the attention over a cache of a device and dtype."""
    if not uses_triton(device, dtype):
        return cached_attention
    from loratory.objectives.packing.kernels import cached_attention_triton

    return cached_attention_triton


def adamw_8bit_for(device: torch.device, dtype: torch.dtype) -> ModuleType:
    """Return the module with AdamW over 8-bit moments for a row of a device and dtype."""
    if not uses_triton(device, dtype):
        return adamw_8bit
    from loratory.objectives.packing.kernels import adamw_8bit_triton

    return adamw_8bit_triton


def _dry() -> ModuleType:
    """Return the twins for the meta device."""
    from loratory.objectives.packing.kernels import dry

    return dry


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
