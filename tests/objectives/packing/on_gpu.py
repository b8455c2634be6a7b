"""Helpers of tests on a GPU: marks, sizes of a model, layouts of slots, and relative errors."""

import importlib.util
import os

import pytest
import torch

from loratory.objectives.packing.segments import Segments

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")

ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="needs a CUDA device")]

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
KERNELS = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None or not (CUDA or _INTERPRETED),
        reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1",
    ),
]
"""A kernel alone is tested elsewhere too, where Triton is told to interpret it."""

HALVES = (torch.bfloat16, torch.float16) if CUDA else (torch.float16,)
"""Number formats of two bytes; Triton's interpreter is not to be trusted with bf16."""

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
}
"""Of a small model; not all of them fill a kernel's tiles."""


def segments_of(spans, *, slots, tokens, granule=32):
    """Whose tokens are where, as kernels read it."""
    blocks = torch.full((tokens // granule,), -1, dtype=torch.int32)
    bounds = torch.zeros(slots, 2, dtype=torch.int32)
    for slot, start, end in spans:
        blocks[start // granule : end // granule] = slot
        bounds[slot] = torch.tensor([start, end])
    return Segments(granule=granule, spans=spans, block_slots=blocks.to(DEVICE), bounds=bounds.to(DEVICE))


def relative(got, wanted):
    """The error's size over that of what is wanted."""
    return ((got.double() - wanted.double()).norm() / wanted.double().norm()).item()
