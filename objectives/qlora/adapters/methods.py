"""Adapter methods: options for PEFT, and initial values of the matrices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.adapters.initial_values import initial_matrices
from loratory.objectives.qlora.base.names import Layers
from loratory.spaces.training import TrainingParameters


@dataclass(frozen=True, kw_only=True)
class AdapterMethod:
    """One way to adapt a linear layer. PEFT computes its scaling from the configuration.

    Attributes:
        peft_options: fields of `peft.LoraConfig` that select the method.
        initial_values: function of layers, rank and seed that returns PEFT's initial values, bit for bit, by
            their names in PEFT's file; a slot has room for each.
    """

    peft_options: Mapping[str, Any]
    initial_values: Callable[[Layers, int, int], AdapterState]


LORA = AdapterMethod(
    peft_options=MappingProxyType({"use_rslora": False}),
    initial_values=lambda layers, rank, seed: initial_matrices(layers, rank=rank, seed=seed),
)
"""LoRA: the update is alpha / rank times B A (Hu et al., 2021)."""

RSLORA = AdapterMethod(
    peft_options=MappingProxyType({"use_rslora": True}),
    initial_values=LORA.initial_values,
)
"""rsLoRA: the update is alpha / sqrt(rank) times B A (Kalajdzievski, 2023)."""


def method_of(training: TrainingParameters) -> AdapterMethod:
    """Return the method that a trial's hyperparameters name."""
    return RSLORA if training.rank_stabilized else LORA
