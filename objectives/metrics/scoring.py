"""Compute metrics of decoded text by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics.text_metric import TextContext, TextMetric
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import METRICS


def _load(scorer: str) -> TextMetric:
    module, _, attribute = scorer.partition(":")
    metric: TextMetric = getattr(import_module(module), attribute)()
    return metric


TEXT_METRICS = MappingProxyType(
    {name: _load(metric.scorer) for name, metric in METRICS.items() if metric.scorer is not None}
)
"""Metrics of decoded text by name. `loss`, which needs the model, is not one of them."""


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """Some metrics on n examples.

    Attributes:
        aggregate: name to the value over all examples.
        metrics: name to float64 [n], the metric of each example alone.
        statistics: name to float64 [n, k]; `aggregate_from_statistics` of their sum is the aggregate.
        signatures: name to what exactly was computed: tokenizer, case, version.
    """

    aggregate: dict[str, float]
    metrics: dict[str, NDArray[np.float64]]
    statistics: dict[str, NDArray[np.float64]]
    signatures: dict[str, str]


def score_texts(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    language: str | None = None,
    labels: Sequence[str] = (),
    bleu_tokenizer: str = "auto",
    bleu_tokenizer_file: str | None = None,
    rouge_stemmer: bool = False,
) -> TextScores:
    """Score predictions, each against its reference.

    Args:
        names: metrics to compute.
        predictions: n >= 1 decoded answers; an empty one is scored as such.
        references: n expected answers.
        language: language of the references; None detects the script.
        labels: every label of a classification task, in a fixed order.
        bleu_tokenizer: sacrebleu's name of the tokenizer of BLEU; `auto` chooses by language or script.
        bleu_tokenizer_file: its SentencePiece model, for flores101, flores200 and spm.
        rouge_stemmer: whether the ROUGE of rouge_score stems words.

    Raises:
        InputError: an unknown name, nothing to score, lists of unlike length, or a null text.
    """
    _check_texts(predictions, references)
    context = TextContext(
        language=language,
        labels=tuple(labels),
        bleu_tokenizer=bleu_tokenizer,
        bleu_tokenizer_file=bleu_tokenizer_file,
        rouge_stemmer=rouge_stemmer,
    )
    scores = {name: text_metric(name).score(predictions, references, context) for name in names}
    return TextScores(
        aggregate={n: aggregate_from_statistics(n, s.statistics.sum(axis=0)) for n, s in scores.items()},
        metrics={n: s.values for n, s in scores.items()},
        statistics={n: s.statistics for n, s in scores.items()},
        signatures={n: s.signature for n, s in scores.items()},
    )


def aggregate_from_statistics(name: str, summed: NDArray[np.float64]) -> float:
    """The metric over a set of examples, from the sum of their statistics.

    Args:
        name: a metric of `TEXT_METRICS`.
        summed: float64 [k], rows of `TextScores.statistics` added up, each as often as it was drawn.
    """
    return text_metric(name).aggregate(np.asarray(summed, dtype=np.float64))


def text_metric(name: str) -> TextMetric:
    """Return the metric of this name.

    Raises:
        InputError: there is none, or it is not computed from text.
    """
    if name not in TEXT_METRICS:
        raise InputError(f"metric must be one of {', '.join(TEXT_METRICS)}, got {name!r}")
    return TEXT_METRICS[name]


def _check_texts(predictions: Sequence[str], references: Sequence[str]) -> None:
    if len(predictions) != len(references):
        raise InputError(
            "predictions and references must be equally many, "
            f"got {len(predictions)} predictions and {len(references)} references"
        )
    if not len(predictions):
        raise InputError("there must be at least one example to score, got none")
    for side, texts in (("prediction", predictions), ("reference", references)):
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"{side} {place} must be text, got {text!r}")
