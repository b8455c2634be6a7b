"""Scores of examples from latent qualities, and what they are over endlessly many examples."""

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from loratory.reports.statistics.aggregates import corpus_bleu
from statistics_cells.cells import Cell

MIDDLE = MappingProxyType({"rouge": 0.0, "accuracy": 0.85, "bleu": 0.0, "macro_f1": 0.85})
"""Latent quality of the best trial."""
_MEAN, _SLOPE = 0.22, 0.21  # of ROUGE: as in the quickstart
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WORDS = (2.6, 0.5)  # mean and deviation of the logarithm of a reference's length
_SHORTER = (-0.05, 0.2, 0.15)  # of the logarithm of the ratio of lengths: mean, shared and own deviation
_SAME_MISTAKE = 0.5  # share of wrong labels that are the same for all trials


def columns(cell: Cell, latent: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return statistics of the examples, [n, N, d], from latent qualities, [n, N]."""
    if cell.metric == "bleu":
        return _ngrams(latent, rng)
    if cell.metric == "macro_f1":
        return _confusions(cell, latent, rng)
    values = np.clip(_MEAN + _SLOPE * latent, 0, 1) if cell.metric == "rouge" else latent > 0
    return np.stack([values, np.ones_like(latent)], axis=-1)


def true_values(cell: Cell, skills: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the metric over endlessly many examples, [N]; latent qualities are normal around skills."""
    if cell.metric == "rouge":
        return _mean_of_clipped(_MEAN + _SLOPE * skills)
    if cell.metric == "accuracy":
        return norm.cdf(skills)
    if cell.metric == "macro_f1":
        return _true_macro_f1(cell, norm.cdf(skills))
    precisions = _precisions(skills[:, None] + _NODES)
    expected = np.einsum("nqk,q->nk", precisions, _WEIGHTS / _WEIGHTS.sum())
    length, reference, ngrams = _MEAN_LENGTHS
    same = [np.tile(each, (len(skills), 1)) for each in ([length, reference], ngrams)]
    return corpus_bleu(np.concatenate([same[0], expected * ngrams, same[1]], axis=1))


def _mean_of_clipped(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E[clip(X, 0, 1)] of a normal X with deviation `_SLOPE`."""
    low, high = -mean / _SLOPE, (1 - mean) / _SLOPE
    inside = norm.cdf(high) - norm.cdf(low)
    return mean * inside + _SLOPE * (norm.pdf(low) - norm.pdf(high)) + norm.sf(high)


def _precisions(latent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the chances that n-grams of orders 1 to 4 match, [..., 4]: each more seldom than the last."""
    first, ratio = expit(-0.3 + 0.6 * latent), expit(-0.2 + 0.6 * latent)
    return first[..., None] * ratio[..., None] ** np.arange(4)


def _ngrams(latent: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return lengths, matches and n-grams of BLEU, [n, N, 10]."""
    examples = len(latent)
    mean, shared, own = _SHORTER
    reference = _reference_lengths(examples, rng)[:, None]
    ratio = rng.normal(mean, shared, (examples, 1)) + rng.normal(0, own, latent.shape)
    length = np.maximum(1, np.round(reference * np.exp(ratio)))
    ngrams = np.maximum(length[..., None] - np.arange(4), 0).astype(np.int64)
    matches = rng.binomial(ngrams, _precisions(latent))
    lengths = np.stack([length, np.broadcast_to(reference, length.shape)], axis=-1)
    return np.concatenate([lengths, matches, ngrams], axis=-1).astype(np.float64)


def _reference_lengths(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.maximum(4, np.round(np.exp(rng.normal(*_WORDS, count))))


def _mean_lengths() -> tuple[float, float, NDArray[np.float64]]:
    """Return the mean lengths of prediction and reference and the mean n-grams, by drawing 400,000."""
    rng = np.random.default_rng(99)
    mean, shared, own = _SHORTER
    reference = _reference_lengths(400_000, rng)
    length = np.maximum(1, np.round(reference * np.exp(rng.normal(mean, np.hypot(shared, own), 400_000))))
    ngrams = [np.maximum(length - order, 0).mean() for order in range(4)]
    return float(length.mean()), float(reference.mean()), np.array(ngrams)


_MEAN_LENGTHS = _mean_lengths()


def _frequencies(labels: int) -> NDArray[np.float64]:
    """Return how frequent each label is, [L]: the first three times as frequent as the last."""
    weights = np.linspace(3, 1, labels)
    return weights / weights.sum()


def _confusions(cell: Cell, latent: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return hits, answers and right answers of each label, [n, N, 3L]."""
    right = rng.choice(cell.labels, (len(latent), 1), p=_frequencies(cell.labels))
    shared = rng.integers(1, cell.labels, (len(latent), 1))
    own = rng.integers(1, cell.labels, latent.shape)
    step = np.where(rng.random(latent.shape) < _SAME_MISTAKE, shared, own)
    answers = np.where(latent > 0, right, (right + step) % cell.labels)
    one_hot = np.eye(cell.labels)
    answered, expected = one_hot[answers], np.broadcast_to(one_hot[right], (*latent.shape, cell.labels))
    return np.concatenate([answered * expected, answered, expected], axis=-1)


def _true_macro_f1(cell: Cell, accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro F1, [N]: a wrong answer is any other label, each as likely."""
    share = _frequencies(cell.labels)
    hits = accuracy[:, None] * share
    answered = hits + (1 - accuracy[:, None]) * (1 - share) / (cell.labels - 1)
    return (2 * hits / (answered + share)).mean(axis=1)
