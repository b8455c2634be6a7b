"""The result of one measurement, and the options that all measurements share."""

from dataclasses import dataclass, field

import torch

from loratory.spaces.model import Quantization


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement, after warm-up.

    Attributes:
        tokens_per_second: useful tokens, of all trials together; padding does not count.
        trials: number of trials that ran at once (or that were timed one after another).
        steps: optimiser steps per trial, or tokens decoded per prompt.
        seconds: the timed span.
        peak_memory_bytes: peak of tensors, summed over processes; on a CPU of resident memory.
        device_memory_bytes: memory taken on the device, with contexts and the allocator's reserve.
        details: other figures by name, for the results file.
    """

    tokens_per_second: float
    trials: int
    steps: int
    seconds: float
    peak_memory_bytes: int
    device_memory_bytes: int
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that all measurements share.

    Attributes:
        device: the device that is measured.
        context_bytes: memory of a process without tensors (`device_memory.context_bytes`).
        warmup_steps: optimiser steps before timing starts.
        seed: of data and adapters; the repeat's number.
        cache_base: whether our engine keeps the base in bf16 as well; None for its own choice.
        quantization: the base's format, for our engine.
    """

    device: torch.device
    context_bytes: int = 0
    warmup_steps: int = 3
    seed: int = 0
    cache_base: bool | None = None
    quantization: Quantization = Quantization.NF4


class DidNotFitError(Exception):
    """The device has too little memory for this variant."""
