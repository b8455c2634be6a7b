"""The interface of a metric on text, and what it needs to know beside the texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class TextContext:
    """What decides how texts are compared.

    Attributes:
        language: language of the references (`zh`, `ja`, `en`, ...); None detects the script.
        labels: every label of a classification task, in a fixed order; empty takes those of the references.
    """

    language: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """One metric on n examples.

    Attributes:
        values: float64 [n], the metric of each example alone.
        statistics: float64 [n, k], counts whose sum over examples decides the aggregate.
        signature: what exactly was computed: tokenizer, case, version.
    """

    values: NDArray[np.float64]
    statistics: NDArray[np.float64]
    signature: str


class TextMetric(Protocol):
    """One metric on decoded text. Holds no state: every call says all it needs."""

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext, /
    ) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        ...

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """The metric over all examples whose statistics add up to `summed`, float64 [k]."""
        ...


class MeanMetric:
    """What metrics share whose aggregate is the mean over examples. Statistics are [value, 1]."""

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """The mean of the examples whose statistics add up to `summed`, float64 [2]."""
        total, examples = summed
        return float(total / examples)


def mean_statistics(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics of a mean: each value of [n] with a count of one, [n, 2]."""
    return np.stack([values, np.ones_like(values)], axis=1)
