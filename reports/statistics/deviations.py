"""Deviations of trials' values, from which standard errors of trials and of their differences follow."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_CANCELS = 1e-6
"""A variance of a difference below this share of the two variances is computed again from the difference."""


@dataclass(frozen=True, kw_only=True)
class Deviations:
    """Scaled deviations of N trials' values: their products are the covariances of the values.

    Attributes:
        rows: float64 [N, R]; rows @ rows.T is the covariance.
    """

    rows: NDArray[np.float64]

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the values, float64 [N, N]."""
        covariance: NDArray[np.float64] = self.rows @ self.rows.T
        return covariance

    @cached_property
    def single(self) -> NDArray[np.float32]:
        """The rows in float32, [N, R]."""
        return self.rows.astype(np.float32)

    @cached_property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard error of each value, float64 [N]; NaN where the value is undefined without some unit."""
        errors: NDArray[np.float64] = np.sqrt(np.einsum("nr,nr->n", self.rows, self.rows))
        return errors

    def paired(self, trial: int) -> NDArray[np.float64]:
        """Return the standard errors of the differences between all trials and one, float64 [N].

        Args:
            trial: index of the one.
        """
        variances = self.standard_errors**2
        both = variances + variances[trial]
        squared = both - 2 * self.covariance[trial]
        # The subtraction leaves nothing of small differences.
        close = squared <= _CANCELS * both
        squared[close] = ((self.rows[close] - self.rows[trial]) ** 2).sum(axis=1)
        errors: NDArray[np.float64] = np.sqrt(squared)
        return errors
