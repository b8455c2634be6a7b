"""Values of a metric from summed statistics, for many sums at once."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics import aggregate_from_statistics
from loratory.objectives.metrics.scoring import TEXT_METRICS
from loratory.objectives.metrics.text_metric import MeanMetric

Aggregate = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Computes values, float64 [...], from sums of statistics, float64 [..., d]."""


def is_corpus_metric(metric: str) -> bool:
    """Return whether a metric is computed from summed counts and is no mean over examples."""
    return metric in TEXT_METRICS and not isinstance(TEXT_METRICS[metric], MeanMetric)


def aggregate_of(metric: str) -> Aggregate:
    """Return the function from sums of statistics to values: f([..., d]) is [...].

    A corpus metric without a vectorised form is computed row by row; what is no corpus metric is a ratio of
    two sums.
    """
    if not is_corpus_metric(metric):
        return ratio
    return _VECTORISED.get(metric) or _row_by_row(metric)


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum / count, [...], of [..., 2]; NaN where the count is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values: NDArray[np.float64] = sums[..., 0] / sums[..., 1]
    return values


def corpus_bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute BLEU (Papineni et al., 2002), [...], with sacrebleu's exponential smoothing.

    exp(min(0, 1 - ref_len / sys_len)) * exp(mean over n of log p_n), p_n = 100 * matches_n / ngrams_n. The
    j-th order without a match has p_n = 100 / (2^j * ngrams_n) (Chen and Cherry, 2014). Without any match,
    or without n-grams of some order, BLEU is 0.

    Args:
        sums: float64 [..., 10]: lengths of prediction and reference, matches and n-grams of orders 1 to 4.
    """
    length, reference, matches, ngrams = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:]
    missed = matches == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
        logarithms = np.log(100 * smoothed / ngrams).mean(axis=-1)
        brevity = np.minimum(0.0, 1 - reference / length)
        values = np.exp(brevity + logarithms)
    scored = ~missed.all(axis=-1) & (ngrams > 0).all(axis=-1) & (length > 0)
    return np.where(scored, values, 0.0)


def corpus_chrf(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute chrF2 (Popovic, 2015), [...]: 100 * 5 P R / (4 P + R).

    P and R are means of precision and recall over the orders of which both sides have n-grams.

    Args:
        sums: float64 [..., 18]: n-grams of the prediction, of the reference, and matches, order by order.
    """
    predicted, expected, matches = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    both = (predicted > 0) & (expected > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision, recall = (
        np.divide(matches, side, out=np.zeros_like(matches), where=both).sum(axis=-1) / orders
        for side in (predicted, expected)
    )
    below = 4 * precision + recall
    share = np.divide(precision * recall, below, out=np.zeros_like(below), where=below > 0)
    values: NDArray[np.float64] = 500 * share
    return values


def macro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute macro F1, [...]: the mean of 2 hits / (answered + right) over labels that occur.

    Args:
        sums: float64 [..., 3L]: hits, answers and right answers of L labels.
    """
    hits, answered, right = np.split(sums, 3, axis=-1)
    occurrences = answered + right
    occurs = occurrences > 0
    each = np.divide(2 * hits, occurrences, out=np.zeros_like(hits), where=occurs)
    with np.errstate(invalid="ignore"):
        values: NDArray[np.float64] = each.sum(axis=-1) / occurs.sum(axis=-1)
    return values


def _row_by_row(metric: str) -> Aggregate:
    def computed(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = sums.reshape(-1, sums.shape[-1])
        return np.array([aggregate_from_statistics(metric, row) for row in rows]).reshape(sums.shape[:-1])

    return computed


_VECTORISED = MappingProxyType({"bleu": corpus_bleu, "chrf": corpus_chrf, "macro_f1": macro_f1})
