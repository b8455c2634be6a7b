"""The values that PEFT gives a fresh adapter, drawn as it draws them but without its modules.

To make those is most of PEFT's work, and holds Python's lock, so that no passes are launched meanwhile.
"""

import math

import torch
from torch import nn

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.base.architecture import Layers


def initial_matrices(layers: Layers, *, rank: int, seed: int) -> AdapterState:
    """A uniform (Kaiming), B zero: PEFT's values for the seed, to the bit.

    PEFT makes a linear module of A and one of B, which draw values of their own, and then draws A again. The
    draws that it throws away are made here too: those that come after depend on them.

    Args:
        layers: those that the adapter is for; with another order of them values are others.
        rank: of all of them.
        seed: of a generator of its own, so that threads may draw at once.

    Returns:
        fp32 on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    state: AdapterState = {}
    for layer, (inputs, outputs) in layers.items():
        a, b = (
            torch.empty(shape, dtype=torch.float32, device="cpu")
            for shape in ((rank, inputs), (outputs, rank))
        )
        for matrix in (a, b, a):
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)
        state[f"{FILE_PREFIX}{layer}.lora_A.weight"] = a
        state[f"{FILE_PREFIX}{layer}.lora_B.weight"] = b.zero_()
    return state
