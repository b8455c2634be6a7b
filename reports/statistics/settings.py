"""Summary of the scores of settings that were trained on new seeds.

Settings are never tested against each other here: on 3 to 5 seeds such a test finds nothing (a difference of
2% at a standard deviation of 3% takes 35 seeds each).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from loratory.reports.statistics.power import POWER

LEVEL = 0.95
"""Share of prediction intervals that hold the next training's score."""
USUAL_SEED_DEVIATION = 0.03
"""Standard deviation over seeds as a share of the score, until it is measured: 2.2 to 5.7% in quickstarts."""


@dataclass(frozen=True, kw_only=True)
class SettingSummary:
    """The scores of k trainings of the same settings, in the metric's units.

    Attributes:
        values: the k scores in the order given.
        mean: their mean.
        sd: their standard deviation, with k - 1 in the denominator; None for a single training.
        low: the lowest score.
        high: the highest score.
        next_low: lower end of the prediction interval of the next training; None for a single training.
        next_high: its upper end.
    """

    values: tuple[float, ...]
    mean: float
    sd: float | None
    low: float
    high: float
    next_low: float | None
    next_high: float | None


def summarise(values: Sequence[float], *, level: float = LEVEL) -> SettingSummary:
    """Summarise the scores of trainings that differ in their seed alone.

    The next training's score lies within mean +- t(k - 1) sd sqrt(1 + 1/k), where t is Student's quantile at
    (1 + level) / 2: the prediction interval of one more draw from a normal distribution.

    Args:
        values: k finite scores, at least one.
        level: share of such intervals that hold the next score.

    Raises:
        ValueError: there is no score, or one that is not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite numbers, at least one, got {list(values)}")
    count, mean = len(scores), float(scores.mean())
    sd = float(scores.std(ddof=1)) if count > 1 else None
    half = None if sd is None else _quantile(count - 1, level) * sd * math.sqrt(1 + 1 / count)
    return SettingSummary(
        values=tuple(scores.tolist()),
        mean=mean,
        sd=sd,
        low=float(scores.min()),
        high=float(scores.max()),
        next_low=None if half is None else mean - half,
        next_high=None if half is None else mean + half,
    )


def places(means: Mapping[int, float], *, sign: float) -> dict[int, int]:
    """Return the place of each of several settings by its mean, from 1; equal means keep their order.

    Args:
        means: mean score by the number of the trial whose settings they are.
        sign: 1 if larger scores are better, else -1.
    """
    ordered = sorted(means, key=lambda number: -sign * means[number])
    return {number: place for place, number in enumerate(ordered, start=1)}


def seeds_needed(difference: float, deviation: float) -> int | None:
    """Return the seeds of each of two settings that tell their means apart with probability 0.8.

    2 ((z_0.975 + z_0.8) sd / difference)^2, at least 2: two samples of equal size and spread.

    Args:
        difference: difference of the means.
        deviation: standard deviation sd over seeds, in the same unit.

    Returns:
        None if the difference is zero or a number is not finite.
    """
    if not difference or not math.isfinite(deviation / difference):
        return None
    factor = float(ndtri((1 + LEVEL) / 2) + ndtri(POWER))
    return max(2, math.ceil(2 * (factor * deviation / difference) ** 2))


def _quantile(degrees: int, level: float) -> float:
    """Return Student's quantile at (1 + level) / 2."""
    return float(stdtrit(degrees, (1 + level) / 2))
