"""The interval of the trial that was picked because its value is best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.fixed_interval import Bounds, student_interval, wilson_interval
from loratory.reports.statistics.scored import Scored


@dataclass(frozen=True, kw_only=True)
class PickedInterval:
    """The picked trial's value without its optimism, with an interval, in the metric's own sign.

    Attributes:
        key: key of the trial.
        value: value less optimism.
        low: lower end.
        high: upper end.
        optimism: what was taken off, in the direction in which the metric improves.
    """

    key: str
    value: float
    low: float
    high: float
    optimism: float


def picked_interval(
    scored: Scored, errors: Deviations, optimism: float | None, *, picked: int | None = None
) -> PickedInterval | None:
    """Compute the picked trial's interval: (v_p - optimism) +- t(G - 1, 0.975) se_p.

    No theorem says that it covers; in simulations it does (docs/statistics.md). Where examples are right or
    wrong it is Wilson's interval around v_p - optimism. None of it leaves the range of the metric.

    Args:
        scored: scores of all trials among which it was picked.
        errors: `jackknife(scored)`.
        optimism: of `optimism`.
        picked: index of the picked trial; None: the one with the best value of `scored`.

    Returns:
        None if there is no optimism or no standard error: one unit alone, or units that are all alike, say
        nothing about chance.
    """
    if optimism is None or scored.units < 2:
        return None
    p = scored.picked if picked is None else picked
    centre = scored.within(np.array([scored.sign * (scored.values[p] - optimism)]))
    bounds = _bounds(scored, centre, errors.standard_errors[[p]])
    low, high = (float(scored.within(ends)[0]) for ends in (bounds.low, bounds.high))
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    return PickedInterval(key=scored.keys[p], value=float(centre[0]), low=low, high=high, optimism=optimism)


def _bounds(scored: Scored, centre: NDArray[np.float64], error: NDArray[np.float64]) -> Bounds:
    if scored.top is not None:
        return wilson_interval(scored, centre, error)
    return student_interval(scored, centre, error)
