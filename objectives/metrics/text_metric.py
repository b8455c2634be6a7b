"""The interface of a metric on text, and the context that it needs besides the texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class TextContext:
    """Settings for the comparison of texts.

    Attributes:
        language: language of the references (`zh`, `ja`, `en`, ...); None detects the script.
        labels: every label of a classification task, in a fixed order; empty: labels of the references.
        bleu_tokenizer: sacrebleu's name of the tokenizer of BLEU; `auto` chooses by language or script.
        bleu_tokenizer_file: its SentencePiece model, for flores101, flores200 and spm.
        rouge_stemmer: whether the ROUGE of rouge_score stems words.
    """

    language: str | None = None
    labels: tuple[str, ...] = ()
    bleu_tokenizer: str = "auto"
    bleu_tokenizer_file: str | None = None
    rouge_stemmer: bool = False


@dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """One metric on n examples.

    Attributes:
        values: float64 [n], the metric of each example.
        statistics: float64 [n, k], counts; the aggregate is computed from their sum over examples.
        signature: details of the computation: tokenizer, case, version.
    """

    values: NDArray[np.float64]
    statistics: NDArray[np.float64]
    signature: str


class TextMetric(Protocol):
    """One metric on decoded text. It holds no state: each call gets all input as arguments."""

    def score(
        self, predictions: Sequence[str], references: Sequence[str], context: TextContext, /
    ) -> ExampleScores:
        """Score n >= 1 predictions, each against its reference."""
        ...

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """Compute the metric over examples from the sum of their statistics, float64 [k]."""
        ...


class MeanMetric:
    """Aggregate of metrics that are a mean over examples. The statistics of an example are [value, 1]."""

    def aggregate(self, summed: NDArray[np.float64]) -> float:
        """Compute the mean over examples from the sum of their statistics, float64 [2]."""
        total, examples = summed
        return float(total / examples)


def mean_statistics(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the statistics of a mean, [n, 2]: each value of [n] with a count of one."""
    return np.stack([values, np.ones_like(values)], axis=1)
