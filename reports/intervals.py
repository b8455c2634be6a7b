"""Intervals of every metric of models that were scored on the same examples, and of their gains."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from loratory.objectives.scores import ScoreTable
from loratory.reports import formatting
from loratory.reports.comparison_report import Uncertainty
from loratory.reports.findings import Interval
from loratory.reports.statistics.cautions import cautions, unchecked
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.differences import gains_over
from loratory.reports.statistics.fixed_interval import LEVEL, fixed_intervals
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.scored import Scored, scored
from loratory.spaces.metric_names import Direction

GAIN = "gain"
"""Name of the gain among the reasons why there is no interval."""
_NO_SCORES = "no scores per example are kept"


def damaged_scores(why: str) -> str:
    """Return the reason why damaged scores have no interval and are in no comparison."""
    return f"its scores per example are damaged: {why}"


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals of models by key, and why there are none.

    Attributes:
        of: by key, then by metric.
        gains: by key, of the study's metric less the base's, positive where it is better.
        missing: by key, then by metric or `GAIN`: why there is no interval.
        uncertainty: how they were computed; None if no model has any scores per example.
    """

    of: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    gains: Mapping[str, Interval] = field(default_factory=dict)
    missing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    uncertainty: Uncertainty | None = None


def intervals(
    tables: Mapping[str, ScoreTable],
    metrics: Mapping[str, Iterable[str]],
    metric: str,
    direction: Direction,
    *,
    base: str | None = None,
    damaged: Mapping[str, str] | None = None,
) -> Intervals:
    """Compute the interval of each metric of each model, as of one that was chosen before it was scored.

    Args:
        tables: per-example scores on one split, by key.
        metrics: by key, the names of the metrics that are shown; keys without a table have no intervals.
        metric: the study's metric, of which gains are computed.
        direction: which of its values are better.
        base: key of the model that gains are over; None: no gains.
        damaged: what is wrong with damaged scores, by key.
    """
    unread = {key: damaged_scores(why) for key, why in (damaged or {}).items()}
    of: dict[str, dict[str, Interval]] = {key: {} for key in metrics}
    missing: dict[str, dict[str, str]] = {
        key: {} if key in tables else dict.fromkeys(names, unread.get(key, _NO_SCORES))
        for key, names in metrics.items()
    }
    gains: dict[str, Interval] = {}
    uncertainty, warnings = None, dict[str, None]()
    for name in dict.fromkeys((metric, *(name for names in metrics.values() for name in names))):
        shown = {key: tables[key] for key, names in metrics.items() if key in tables and name in names}
        # The direction turns the sign of values alone, and intervals are in the metric's own sign.
        found, left_out = scored(shown, name, direction)
        for key, reason in left_out.items():
            missing[key][name] = reason
        if found is None:
            continue
        errors = jackknife(found)
        _add(found, errors, of, missing)
        warnings |= dict.fromkeys(cautions(found))
        if untested := unchecked(name, formatting.label(name)):
            warnings[untested] = None
        if name == metric:
            uncertainty = _described(found)
            if base in found.keys:
                gains = _gains(found, errors, found.keys.index(base))
    if base is not None:
        _add_missing_gains(missing, gains, metric, base)
    if uncertainty is not None:
        uncertainty = uncertainty.model_copy(update={"cautions": tuple(warnings)})
    return Intervals(of=of, gains=gains, missing=missing, uncertainty=uncertainty)


def _add_missing_gains(
    missing: Mapping[str, dict[str, str]], gains: Mapping[str, Interval], metric: str, base: str
) -> None:
    """Say of each model but the base why its gain has no interval, where it has none."""
    for key, reasons in missing.items():
        if key != base and key not in gains:
            reasons[GAIN] = reasons.get(metric) or missing.get(base, {}).get(metric) or _NO_SCORES


def _described(found: Scored) -> Uncertainty:
    return Uncertainty(
        level=LEVEL,
        unit=found.unit,
        units=found.units,
        examples=found.examples,
    )


def _add(
    found: Scored,
    errors: Deviations,
    of: Mapping[str, dict[str, Interval]],
    missing: Mapping[str, dict[str, str]],
) -> None:
    bounds = fixed_intervals(found, errors)
    lows, highs = (found.within(ends).tolist() for ends in (bounds.low, bounds.high))
    for key, low, high in zip(found.keys, lows, highs, strict=True):
        if np.isfinite(low) and np.isfinite(high):
            of[key][found.metric] = Interval(low=low, high=high)
        else:
            missing[key][found.metric] = _why(found)


def _why(found: Scored) -> str:
    if found.units < 2:
        return f"one {found.unit} alone says nothing about chance"
    return f"every {found.unit} scores alike, which says nothing about chance"


def _gains(found: Scored, errors: Deviations, base: int) -> dict[str, Interval]:
    """Return the interval of each model's gain over the base, paired over the units."""
    if found.units < 2:
        return {}
    gains = gains_over(found, errors, base)
    return {
        key: Interval(low=low, high=high)
        for key, low, high in zip(found.keys, gains.low.tolist(), gains.high.tolist(), strict=True)
        if key != found.keys[base] and np.isfinite(low) and np.isfinite(high)
    }
