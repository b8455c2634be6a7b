"""Intervals of trials that were not picked by their values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from loratory.reports.statistics.critical_value import NOTHING
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.scored import Scored

LEVEL = 0.95
"""Confidence level of intervals."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Ends of intervals, in the metric's own sign.

    Attributes:
        low: float64 [N], NaN where there is no interval: one unit alone, or all units alike.
        high: float64 [N].
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fixed_intervals(scored: Scored, errors: Deviations) -> Bounds:
    """Compute the interval of each trial, as of one that was chosen before it was scored.

    v_i +- t(G - 1, 0.975) se_i with the jackknife's error (Efron and Stein, 1981; for few clusters Cameron
    and Miller, 2015). Where examples are right or wrong: Wilson's interval (`wilson_interval`).

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
    """
    centres = scored.sign * scored.values
    if scored.top is not None:
        return wilson_interval(scored, centres, errors.standard_errors)
    return student_interval(scored, centres, errors.standard_errors)


def wilson_interval(
    scored: Scored, centres: NDArray[np.float64], standard_errors: NDArray[np.float64]
) -> Bounds:
    """Compute Wilson's interval (1927; Brown, Cai and DasGupta, 2001) around shares of right examples.

    (p + z^2 / 2m +- z sqrt(p (1 - p) / m + z^2 / 4m^2)) / (1 + z^2 / m) with m = n / max(1, se^2 / (p (1 -
    p) / n)), fewer than n examples where those of a group resemble each other. z is the normal quantile, or
    that of t(G - 1) where units are groups.

    Args:
        scored: scores with `top`.
        centres: p * top, float64 [N].
        standard_errors: float64 [N].
    """
    assert scored.top is not None
    p = np.clip(centres / scored.top, 0.0, 1.0)
    z = student_quantile(scored) if scored.unit == "group" else float(norm.isf((1 - LEVEL) / 2))
    independent = p * (1 - p) / scored.examples
    squared = (standard_errors / scored.top) ** 2
    inflation = np.divide(squared, independent, out=np.ones_like(p), where=independent > 0)
    effective = scored.examples / np.maximum(1.0, inflation)
    middle = (p + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z * np.sqrt(p * (1 - p) / effective + (z / (2 * effective)) ** 2) / (1 + z**2 / effective)
    # Rounding may leave the range of a share.
    low, high = np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
    return Bounds(low=scored.top * low, high=scored.top * high)


def student_interval(
    scored: Scored, centres: NDArray[np.float64], standard_errors: NDArray[np.float64]
) -> Bounds:
    """Return centres +- t(G - 1, 0.975) * standard errors.

    Units that are all alike (every answer empty, say) have a standard error of 0, which is no certainty: NaN.
    """
    alike = standard_errors <= NOTHING * np.abs(centres)
    margins = np.where(alike, np.nan, student_quantile(scored) * standard_errors)
    return Bounds(low=centres - margins, high=centres + margins)


def student_quantile(scored: Scored) -> float:
    """Return t(G - 1, 0.975); NaN if G = 1."""
    return float(t.isf((1 - LEVEL) / 2, scored.units - 1))
