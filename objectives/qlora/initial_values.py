"""The values that PEFT gives a fresh adapter, drawn as it draws them but without its modules.

Making those takes most of PEFT's time, and Python, which meanwhile launches nothing for trials that train.
"""

import math
from functools import cache

import torch
from torch import nn

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.injection import Layers, inject


def initial_matrices(layers: Layers, *, rank: int, seed: int) -> AdapterState:
    """A uniform (Kaiming), B zero: PEFT's values for the seed, to the bit.

    PEFT makes a linear module of A and one of B, which draw values of their own, and then draws A again. The
    draws that it throws away are made here too: those that come after depend on them.

    Args:
        layers: those that the adapter is for.
        rank: of all of them.
        seed: of a generator of its own, so that threads may draw at once.

    Returns:
        fp32 on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    state: AdapterState = {}
    for layer, (inputs, outputs) in layers.items():
        a, b = torch.empty(rank, inputs, dtype=torch.float32), torch.empty(outputs, rank, dtype=torch.float32)
        for matrix in (a, b, a):
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5), generator=generator)
        state[f"{FILE_PREFIX}{layer}.lora_A.weight"] = a
        state[f"{FILE_PREFIX}{layer}.lora_B.weight"] = b.zero_()
    return state


@cache
def draws_like_peft() -> bool:
    """Whether the installed PEFT draws so; where it does not, it has to make each adapter itself."""
    from peft import LoraConfig

    layers = {"block.first": (5, 7), "block.second": (11, 3)}
    config = LoraConfig(r=2, target_modules=["first", "second"])
    theirs, ours = inject(layers, config, seed=1).state, initial_matrices(layers, rank=2, seed=1)
    return list(theirs) == list(ours) and all(torch.equal(theirs[name], ours[name]) for name in ours)
