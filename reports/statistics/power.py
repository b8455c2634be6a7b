"""The smallest difference between two trials that a number of examples can show."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.scored import Scored

USUAL_DEVIATION = 0.56
"""Standard deviation of paired differences, as a share of the best value, until it is measured."""
_COMPETES = 0.35
"""Share of the best value by which trials that compete with the best are behind at most."""
_ERROR = 0.05
POWER = 0.8
"""Chance to find a difference of the size that is told."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


def detectable_difference(*, examples: int, trials: int, deviation: float = USUAL_DEVIATION) -> float:
    """Return the difference to the best that is found four times in five: (d + 0.84) deviation / sqrt(n).

    d is the critical value of `equal_spread_critical_value`, 0.84 the 0.8 quantile of the normal
    distribution. The result is a share of the best value if `deviation` is one.

    Args:
        examples: number n of examples.
        trials: number of trials that are compared.
        deviation: standard deviation over examples of paired differences.
    """
    reach = equal_spread_critical_value(trials) + float(norm.ppf(POWER))
    return reach * deviation / math.sqrt(examples)


def examples_for(difference: float, *, trials: int, deviation: float = USUAL_DEVIATION) -> int:
    """Return the number of examples at which a difference is found four times in five.

    Args:
        difference: above 0, in the units of `deviation`.
        trials: number of trials that are compared.
        deviation: standard deviation over examples of paired differences.
    """
    at_one = detectable_difference(examples=1, trials=trials, deviation=deviation)
    return math.ceil((at_one / difference) ** 2)


def paired_deviation(scored: Scored, errors: Deviations) -> float | None:
    """Return the standard deviation of paired differences to the best, as a share of the best value.

    It is the median of se_ip sqrt(n) / |v_p| over the trials that compete with the best, those less than 35%
    behind it. Groups of examples that resemble each other raise it.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.

    Returns:
        None if no trial competes, there is one unit alone, or the best value is 0.
    """
    best = abs(float(scored.values[scored.picked]))
    others = scored.values > scored.values[scored.picked] - _COMPETES * best
    others[scored.picked] = False
    if best == 0 or scored.units < 2 or not others.any():
        return None
    spread = float(np.median(errors.paired(scored.picked)[others])) * math.sqrt(scored.examples) / best
    return spread if math.isfinite(spread) else None


def equal_spread_critical_value(trials: int) -> float:
    """Return d of N trials with equal spread, no two more alike than others (Dunnett, 1955).

    It solves E[Phi(sqrt(2) d + Z)^(N - 1)] = 0.95 for a standard normal Z: no other trial seems better than
    the best by more than d standard errors. 1.64 for 2 trials, 2.5 for 12, 3.0 for 64.

    Args:
        trials: number N of trials.
    """
    if trials < 2:
        return 0.0

    def excess(d: float) -> float:
        covered = norm.cdf(math.sqrt(2) * d + _NODES) ** (trials - 1)
        return float(covered @ _WEIGHTS / _WEIGHTS.sum()) - (1 - _ERROR)

    return float(brentq(excess, 0.0, 10.0))
