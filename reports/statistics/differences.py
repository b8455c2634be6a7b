"""Differences between one trial and all others on the same examples: standard errors and intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.critical_value import NOTHING, rounding
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.fixed_interval import student_quantile
from loratory.reports.statistics.score_interval import lower_end
from loratory.reports.statistics.scored import Scored


@dataclass(frozen=True, kw_only=True)
class Gains:
    """By how much trials are better than one of them, in units of the metric.

    Attributes:
        values: differences, larger = better, float64 [N].
        low: lower ends of their intervals, float64 [N]; -inf where nothing tells about chance.
        high: upper ends.
    """

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def gains_over(scored: Scored, errors: Deviations, other: int, *, quantile: float | None = None) -> Gains:
    """Compute by how much each trial is better than one of them, with its interval.

    d +- t(G - 1, 0.975) se(d), with the jackknife's error of the difference on the same units. Where examples
    are right or wrong it is Tango's score interval with the same quantile (`score_interval`); where units are
    groups, its counts are divided by the design effect (Rao and Scott, 1992). Units that all differ alike say
    nothing about chance. No interval leaves the range of such differences.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        other: index of the trial that the others are compared with.
        quantile: number of standard errors; None: t(G - 1, 0.975).
    """
    quantile = student_quantile(scored) if quantile is None else quantile
    low, high = (gain_ends(scored, errors, other, quantile=quantile, side=side) for side in (-1, 1))
    told = np.isfinite(low) & np.isfinite(high)
    return Gains(
        values=gaps(scored, other), low=np.where(told, low, -np.inf), high=np.where(told, high, np.inf)
    )


def gain_ends(
    scored: Scored, errors: Deviations, other: int, *, quantile: float, side: int
) -> NDArray[np.float64]:
    """Return one end of each interval of `gains_over`, [N]; infinite where nothing tells about chance.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        other: index of the trial that the others are compared with.
        quantile: number of standard errors.
        side: -1 for the lower ends, 1 for the upper ones.
    """
    if scored.right is not None and scored.units > 1:
        ends = _of_right_examples(scored, errors, other, quantile, side)
    else:
        se = difference_errors(scored, errors, other)
        known = np.isfinite(se)
        ends = gaps(scored, other) + side * np.where(known, quantile * np.where(known, se, 0.0), np.inf)
    ends = np.where(np.isfinite(ends), ends, side * np.inf)
    limit = scored.width
    return np.where(np.isfinite(ends), np.clip(ends, -limit, limit), ends)


def paired_gain(scored: Scored, errors: Deviations, trial: int, other: int) -> tuple[float, float, float]:
    """Return by how much a trial is better than another, and the ends of the interval (`gains_over`).

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        trial: index of a trial that was not picked by these values.
        other: index of the trial that it is compared with.
    """
    found = gains_over(scored, errors, other)
    return float(found.values[trial]), float(found.low[trial]), float(found.high[trial])


def paired_difference(
    scored: Scored, errors: Deviations, trial: int, other: int
) -> tuple[float, float, float]:
    """Return value(trial) - value(other) in the metric's own sign, and the ends of its interval.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        trial: index of a trial that was not picked by these values.
        other: index of the trial that it is compared with.
    """
    gain, low, high = paired_gain(scored, errors, trial, other)
    return (gain, low, high) if scored.sign > 0 else (-gain, -high, -low)


def gaps(scored: Scored, k: int) -> NDArray[np.float64]:
    """Return v_i - v_k, [N], with 0 for what is rounding."""
    found: NDArray[np.float64] = scored.values - scored.values[k]
    found[np.abs(found) <= NOTHING * (np.abs(scored.values) + abs(scored.values[k]))] = 0.0
    return found


def difference_errors(scored: Scored, errors: Deviations, k: int) -> NDArray[np.float64]:
    """Return the standard error of each difference to k, [N].

    The jackknife's; 0 for trials that are equal on every unit, infinite where it is unknown and where all
    units differ alike. Where examples are right or wrong it is that of equal shares, sqrt(b + c) / n
    (McNemar, 1947; b and c are the examples that only one of both has right): the spread of the sample is too
    small where most differ for the same model. In groups it is multiplied by the root of the design effect.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        k: index of the trial.
    """
    if scored.right is not None and scored.units > 1:
        won, lost = discordant(scored, k)
        assert scored.top is not None
        effect = _design_effect(scored, errors, k, won, lost)
        found: NDArray[np.float64] = scored.top * np.sqrt(effect * (won + lost)) / scored.examples
        return found
    found = np.nan_to_num(errors.paired(k), nan=math.inf, posinf=math.inf)
    none = found <= rounding(scored, errors, k)
    return np.where(none, np.where(gaps(scored, k) == 0, 0.0, np.inf), found)


def discordant(scored: Scored, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many examples only trial i has right, and how many only k has, float64 [N] each."""
    both, right = scored.both_right[k].astype(np.float64), scored.both_right.diagonal()
    return right - both, right[k] - both


def _of_right_examples(
    scored: Scored, errors: Deviations, other: int, quantile: float, side: int
) -> NDArray[np.float64]:
    assert scored.top is not None
    won, lost = discordant(scored, other)
    effect = _design_effect(scored, errors, other, won, lost)
    if side * scored.sign > 0:  # the upper end is the lower one of the models exchanged
        won, lost = lost, won
    return scored.top * -side * lower_end(won / effect, lost / effect, scored.examples / effect, quantile)


def _design_effect(
    scored: Scored, errors: Deviations, k: int, won: NDArray[np.float64], lost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much groups raise the variance of each difference to k, [N], at least 1."""
    if scored.unit == "example":
        return np.ones_like(won)
    assert scored.top is not None
    n = scored.examples
    independent = (won + lost - (won - lost) ** 2 / n) / (n * (n - 1))
    squared = (np.nan_to_num(errors.paired(k)) / scored.top) ** 2
    effect = np.divide(squared, independent, out=np.ones_like(won), where=independent > 0)
    return np.maximum(effect, 1.0)
