"""Training data: examples of random tokens, of one length or of log-normal lengths."""

import math
import random
from dataclasses import dataclass

from loratory.objectives.data.prepared import Example
from packing_cells.shapes import ModelShape

_MEDIAN, _PERCENTILE_99 = 180, 1500
_SIGMA = math.log(_PERCENTILE_99 / _MEDIAN) / 2.3263478740  # the standard normal's 99th percentile
_SHORTEST = 8
_LOGNORMAL_BATCH = 4
_FIRST_ID = 2  # 0 and 1 are the end and padding


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The data of one optimiser step of one trial.

    Attributes:
        name: the tokens per step, or `lognormal`.
        batch_size: examples per step.
        length: tokens per example; None for log-normal lengths (median 180, 99th percentile 1,500).
    """

    name: str
    batch_size: int
    length: int | None

    @property
    def mean_tokens(self) -> float:
        """Expected useful tokens per step, before truncation to the model's longest sequence."""
        length = _MEDIAN * math.exp(_SIGMA**2 / 2) if self.length is None else self.length
        return self.batch_size * length


def fixed(tokens: int) -> Workload:
    """Return steps of examples of one length: 256 tokens, or 128 if a step has at most 512.

    Raises:
        ValueError: the tokens are no whole number of examples.
    """
    length = 128 if tokens <= 512 else 256
    if tokens < length or tokens % length:
        raise ValueError(f"tokens per step must be a multiple of {length}, got {tokens}")
    return Workload(name=str(tokens), batch_size=tokens // length, length=length)


LOGNORMAL = Workload(name="lognormal", batch_size=_LOGNORMAL_BATCH, length=None)


def trial_examples(workload: Workload, shape: ModelShape, *, steps: int, seed: int) -> list[Example]:
    """Return the examples of one trial, in order, `batch_size` for each of its steps.

    The first quarter of each is its prompt; the loss is on the rest.

    Args:
        workload: batch and lengths.
        shape: gives the vocabulary and the longest sequence.
        steps: optimiser steps to provide for.
        seed: the trial's; equal seeds give equal examples.
    """
    draw = random.Random(seed)
    examples = []
    for index in range(workload.batch_size * steps):
        length = min(_length(workload, draw), shape.positions)
        ids = tuple(draw.choices(range(_FIRST_ID, shape.vocabulary), k=length))
        examples.append(_example(f"{seed}-{index}", ids))
    return examples


def _length(workload: Workload, draw: random.Random) -> int:
    if workload.length is not None:
        return workload.length
    return max(_SHORTEST, round(draw.lognormvariate(math.log(_MEDIAN), _SIGMA)))


def _example(name: str, ids: tuple[int, ...]) -> Example:
    prompt = len(ids) // 4
    return Example(
        example_id=name, group=name, prompt="", reference="", prompt_ids=ids[:prompt], answer_ids=ids[prompt:]
    )
