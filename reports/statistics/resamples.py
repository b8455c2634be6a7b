"""Resamples of units, and the values of trials on them."""

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.scored import Scored

RESAMPLES = 1000
"""Number of resamples."""
_CHUNK_NUMBERS = 4_000_000
"""Most numbers of an intermediate array: 32 MB."""


def resamples(units: int, *, seed: int, count: int = RESAMPLES) -> NDArray[np.float64]:
    """Draw all units with replacement, `count` times: the bootstrap (Efron, 1979).

    Where units are groups it is the cluster bootstrap (Field and Welsh, 2007). One set serves all trials and
    metrics, so that differences of trials are paired.

    Args:
        units: number G of units.
        seed: seed of the draw.
        count: number B of resamples.

    Returns:
        How often each unit is in each resample, float64 [B, G].
    """
    drawn = np.random.default_rng(seed).integers(units, size=(count, units))
    # Numbering the cells of all resamples counts them in one pass.
    drawn += units * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)


def resampled_values(
    scored: Scored, drawn: NDArray[np.float64], *, beside: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Compute the value of each trial on each resample, larger = better, float64 [N, B].

    Args:
        scored: scores of the trials.
        drawn: counts of the units in each resample, float64 [B, G].
        beside: sums over other examples of the same trials, which stay as they are, float64 [N, d].
    """
    trials, units, width = scored.columns.shape
    values = np.empty((trials, len(drawn)))
    step = max(1, _CHUNK_NUMBERS // (len(drawn) * width))
    for start in range(0, trials, step):
        part = scored.columns[start : start + step]
        flat = part.transpose(1, 0, 2).reshape(units, -1)
        sums = (drawn @ flat).reshape(len(drawn), len(part), width)
        if beside is not None:
            sums += beside[start : start + step]
        values[start : start + step] = scored.sign * scored.aggregate(sums).T
    return values


def resampled_deviations(values: NDArray[np.float64]) -> Deviations:
    """Return deviations of resampled values from their means, over sqrt(B).

    A resample on which some trial has no finite value is left out.

    Args:
        values: float64 [N, B].
    """
    finite = values[:, np.isfinite(values).all(axis=0)]
    count = max(1, finite.shape[1])
    return Deviations(rows=(finite - finite.sum(axis=1, keepdims=True) / count) / np.sqrt(count))
