"""What every way of training or decoding gives back."""

from dataclasses import dataclass, field

import torch

from loratory.spaces.model import Quantization


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement, after warm-up.

    Attributes:
        tokens_per_second: useful tokens, of all trials together; padding does not count.
        trials: trials that went on at once (or, one after another, that were timed).
        steps: optimiser steps of each, or tokens decoded a prompt.
        seconds: what was timed.
        peak_memory_bytes: most that tensors held; over processes, their sum. On a CPU the resident memory.
        device_memory_bytes: all that the device gave away for it, contexts and the allocator's reserve
            included.
        details: other numbers by name, for the results file.
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
    """What all measurements share.

    Attributes:
        device: what is measured.
        context_bytes: memory of a process without tensors (`device_memory.context_bytes`).
        warmup_steps: steps before the clock starts.
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
