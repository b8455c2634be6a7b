"""Values of a searched parameter on a grid, and densities of trials over it, for many sets at once."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.special import ndtr

_MOST_CELLS = 50
_NARROWEST = 0.5 / 1.64
"""Smallest bandwidth in cells: 90% of a kernel is in its own cell."""


def cells(distribution: BaseDistribution, values: Sequence[Any]) -> tuple[NDArray[np.intp], int]:
    """Return the cell of each value, [T], and the number of cells, as Optuna's PED-ANOVA lays them out.

    Args:
        distribution: of the parameter.
        values: T values as Optuna stores them.
    """
    if isinstance(distribution, CategoricalDistribution):
        chosen = [int(distribution.to_internal_repr(value)) for value in values]
        return np.array(chosen, dtype=np.intp), len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    count = _cell_count(distribution)
    low, high, numbers = distribution.low, distribution.high, np.asarray(values, dtype=np.float64)
    if distribution.log:
        low, high, numbers = math.log(low), math.log(high), np.log(numbers)
    # The middle between two cells goes to the lower one.
    places = np.ceil((numbers - low) / ((high - low) / (count - 1)) - 0.5).astype(np.intp)
    return np.clip(places, 0, count - 1), count


def densities(counts: NDArray[np.float64], *, categorical: bool) -> NDArray[np.float64]:
    """Compute the density of trials over the cells for each of P sets: a Parzen estimate, [P, C].

    Each trial adds a kernel, and a prior counts as one trial. For numbers the kernel is a normal distribution
    on the cells with the bandwidth of Scott (1992); for categories it is the category, smoothed.

    Args:
        counts: trials in each cell, float64 [P, C]; at least one, and equally many in all sets.
        categorical: whether cells are categories without an order.
    """
    total = counts.sum(axis=1, keepdims=True)
    kernels = _categorical_kernels(counts) if categorical else _normal_kernels(counts)
    summed = np.einsum("pk,pkc->pc", counts, kernels) + _prior(counts.shape[1], categorical)
    density: NDArray[np.float64] = summed / (total + 1)
    return density


def _cell_count(distribution: FloatDistribution | IntDistribution) -> int:
    if isinstance(distribution, IntDistribution) and distribution.log:
        return min(math.ceil(math.log2(distribution.high - distribution.low + 1)) + 1, _MOST_CELLS)
    if distribution.step is None:
        return _MOST_CELLS
    return min(round((distribution.high - distribution.low) / distribution.step) + 1, _MOST_CELLS)


def _categorical_kernels(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each category's kernel, [P, C, C]: as many kernels as categories that occur, and the prior."""
    categories = counts.shape[1]
    smoothing = 1 / ((counts > 0).sum(axis=1) + 1)
    weights: NDArray[np.float64] = np.eye(categories) + smoothing[:, None, None]
    weights /= weights.sum(axis=2, keepdims=True)
    return weights


def _normal_kernels(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each cell's kernel, [P, C, C]: a normal distribution over the cells."""
    middles = np.arange(counts.shape[1])
    return _normal_masses(middles, _bandwidths(counts)[:, None], cells=counts.shape[1])


def _normal_masses(middles: NDArray[Any], widths: NDArray[np.float64], *, cells: int) -> NDArray[np.float64]:
    """Return the mass of normal distributions in each cell, [..., C], each with a sum of 1."""
    edges = np.arange(cells + 1) - 0.5
    masses = np.diff(ndtr((edges - middles[..., None]) / widths[..., None]), axis=-1)
    normalised: NDArray[np.float64] = masses / masses.sum(axis=-1, keepdims=True)
    return normalised


def _bandwidths(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1.059 min(IQR / 1.34, sd) T^(-1/5) in cells, [P] (Scott, 1992)."""
    places, total = np.arange(counts.shape[1]), counts.sum(axis=1)
    mean = counts @ places / total
    squares = np.einsum("pc,pc->p", counts, (places - mean[:, None]) ** 2)
    deviation = np.sqrt(squares / np.maximum(1, total - 1))
    below = np.cumsum(counts, axis=1)
    lower = np.argmax(below >= np.maximum(1, total // 4)[:, None], axis=1)
    upper = np.argmax(below > (3 * total // 4)[:, None], axis=1)
    scott = 1.059 * np.minimum((upper - lower) / 1.34, deviation) * total**-0.2
    bandwidths: NDArray[np.float64] = np.maximum(scott, _NARROWEST)
    return bandwidths


def _prior(count: int, categorical: bool) -> NDArray[np.float64]:
    if categorical:
        return np.full(count, 1 / count)
    return _normal_masses(np.array((count - 1) / 2), np.array(float(count)), cells=count)
