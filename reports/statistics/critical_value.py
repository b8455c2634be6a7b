"""Critical values of comparisons between one trial and all others, from shared resamples."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.scored import Scored

NOTHING = 1e-12
"""A difference below this share of values and standard errors is rounding."""
_CHUNK_TRIALS = 128
"""Trials whose resampled differences are computed at once: as many as stay in a core's cache."""
_CLOSE = 1e-3
"""A difference with a spread below this share of the two trials' is computed in float64."""


def critical_value(scored: Scored, spread: Deviations, k: int, *, error: float) -> float:
    """Compute d_k, the number of standard errors that trials may seem better than k by chance.

    The 1 - error quantile over resamples b of max_{i != k} (Z_bi - Z_bk) / sd(Z_i - Z_k) (Romano and Wolf,
    2005), mapped from the normal to the t distribution of G - 1 degrees of freedom. Pairs without spread
    (identical files) are left out.

    Args:
        scored: scores of the trials.
        spread: deviations of their resampled values.
        k: index of the trial.
        error: chance that some trial seems better by more.

    Returns:
        The value; 0 without any pair, infinite without any resample.
    """
    count = spread.rows.shape[1]
    if not count:
        return math.inf
    deviations = spread.paired(k)
    some = deviations > rounding(scored, spread, k)
    inverse = np.divide(1.0, deviations, out=np.zeros_like(deviations), where=some)
    close = some & (deviations < _CLOSE * (spread.standard_errors + spread.standard_errors[k]))
    largest = _largest(spread.single, spread.single[k], np.where(close, 0.0, inverse))
    if close.any():
        largest = np.maximum(largest, _largest(spread.rows[close], spread.rows[k], inverse[close]))
    quantile = float(np.quantile(largest, 1 - error)) * math.sqrt(count)
    return float(t.isf(norm.sf(quantile), scored.units - 1))


def rounding(scored: Scored, deviations: Deviations, k: int) -> NDArray[np.float64]:
    """Return the largest standard error of a difference to k that is rounding, float64 [N]."""
    size = np.abs(scored.values) + np.nan_to_num(deviations.standard_errors)
    largest: NDArray[np.float64] = NOTHING * (size + size[k])
    return largest


def _largest(
    rows: NDArray[np.floating], row: NDArray[np.floating], inverse: NDArray[np.float64]
) -> NDArray[np.floating]:
    """Return max(0, max_i (rows_i - row) * inverse_i), [R], in the precision of the rows.

    A trial with an inverse of 0 adds nothing: the quantile above 0 is all that counts.
    """
    factors = inverse[:, None].astype(rows.dtype)
    largest = np.zeros_like(row)
    buffer = np.empty((_CHUNK_TRIALS, len(row)), dtype=rows.dtype)
    for start in range(0, len(rows), _CHUNK_TRIALS):
        part = slice(start, start + _CHUNK_TRIALS)
        statistics = buffer[: len(rows[part])]
        np.subtract(rows[part], row, out=statistics)
        statistics *= factors[part]
        np.maximum(largest, statistics.max(axis=0), out=largest)
    return largest
