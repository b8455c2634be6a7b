"""Initial values of an adapter, drawn as PEFT draws them but without its modules.

Making the modules is most of PEFT's work and holds the GIL, so that no passes can be launched meanwhile.
"""

import math

import torch
from torch import nn

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.base.names import Layers


def initial_matrices(layers: Layers, *, rank: int, seed: int) -> AdapterState:
    """Draw A uniform (Kaiming) and set B to zero: bit-identical to PEFT's values for the seed.

    PEFT makes linear modules for A and B, which draw initial values, and then draws A again. The discarded
    draws are made here too, since later draws depend on them.

    Args:
        layers: layers that get matrices; the values depend on their order.
        rank: rank of all matrices.
        seed: seed of a separate generator, so that threads can draw at the same time.

    Returns:
        Matrices by name, fp32 on the CPU.
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
