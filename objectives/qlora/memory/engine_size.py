"""The sizes of a worker's engine, and of its adapter stacks."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.spaces.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class StackSize:
    """Sizes of the adapter stacks of a study.

    Attributes:
        layers: name to (inputs, outputs) of all layers that a trial may adapt.
        rank: largest rank of any trial.
        dropout: whether any trial may use dropout.
    """

    layers: Mapping[str, tuple[int, int]]
    rank: int
    dropout: bool

    @property
    def numbers_per_slot(self) -> int:
        """Numbers in a slot's row of a stack with these sizes."""
        stack = AdapterStack(
            self.layers,
            slots=1,
            rank=self.rank,
            device=torch.device("meta"),
            compute_dtype=torch.float32,
        )
        return stack.parameters_per_slot


def stack_size(study: StudySpec, architecture: Architecture) -> StackSize:
    """Return stack sizes into which every trial of a study fits."""
    targets: set[str] = set()
    for choice in study.extremes_of("target_modules"):
        targets |= set(architecture.targets(choice if isinstance(choice, str) else tuple(choice)))
    rank, dropout = max(study.extremes_of("rank")), max(study.extremes_of("dropout"))
    return StackSize(layers=architecture.layers_of(tuple(targets)), rank=rank, dropout=dropout > 0)


@dataclass(frozen=True, kw_only=True)
class EngineSize:
    """Sizes of a worker's engine.

    Attributes:
        slots: number of trials that train at once.
        tokens_per_pass: largest number of tokens in a pass, over all slots.
        decoding_rows: most prompts decoded at once; 0 where nothing is decoded.
        cache_pages: pages of the cache that they share; None where each takes as much as the longest.
        hold_base: whether the dequantised base stays in memory.
        checkpointing: whether activations are recomputed in the backward pass.
        optimizer_bits: bits of each of the optimiser's moments, 32 or 8.
        offload: whether the moments lie in main memory and come to the device for an update.
        graphs: whether passes are replayed as CUDA graphs.
    """

    slots: int
    tokens_per_pass: int
    decoding_rows: int
    hold_base: bool
    checkpointing: bool = False
    optimizer_bits: int = 32
    offload: bool = False
    graphs: bool = True
    cache_pages: int | None = None
