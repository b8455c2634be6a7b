"""Scores of trials on two parts of eval: the value over both, and an interval from the second part alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.aggregates import aggregate_of
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import PickedInterval, picked_interval
from loratory.reports.statistics.resamples import resampled_values, resamples
from loratory.reports.statistics.scored import Scored, scored, statistics_of, summed, units_of
from loratory.spaces.metric_names import Direction


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One metric of N trials on two parts without common examples.

    The value over both is computed from statistics summed over all examples: a corpus metric is that of the
    joined texts, a mean weighs every example alike.

    Attributes:
        both: the scores on both parts; its units are examples.
        second: those on the second part; its units are groups where the data names them.
    """

    both: Scored
    second: Scored


def pool(
    first: Mapping[str, ScoreTable], second: Mapping[str, ScoreTable], metric: str, direction: Direction
) -> Pooled | None:
    """Join the scores of trials on two parts.

    Args:
        first: per-example scores on the first part by key.
        second: those on the second part; its keys are joined, the first of equal trials comes first.
        metric: name of a metric.
        direction: which values are better.

    Returns:
        None if no trial has usable scores on both; trials without are left out.
    """
    joined = {key: table for key in second if (table := _joined(first[key], second[key], metric))}
    found, _ = scored(joined, metric, direction)
    if found is None:
        return None
    table = second[found.keys[0]]
    unit, unit_of_example = units_of(table.groups)
    later = found.columns[:, found.examples - len(table.groups) :]
    columns = summed(later, unit_of_example)
    return Pooled(both=found, second=replace(found, unit=unit, examples=later.shape[1], columns=columns))


def confirmed_interval(pooled: Pooled, *, seed: int) -> PickedInterval | None:
    """Compute the interval of the trial that is best over both parts, from the second part alone.

    The first part decided which trials are here, so the interval is around the value on the second part. That
    had a say in the choice: its optimism is estimated with the choice made again, by both parts, in each
    resample of the second.

    Args:
        pooled: the trials among which it was picked.
        seed: seed of the study.
    """
    second, picked = pooled.second, pooled.both.picked
    drawn = resamples(second.units, seed=seed)
    values = resampled_values(second, drawn, beside=pooled.both.totals - second.totals)
    flattery = optimism(second, drawn, values, picked=picked)
    return picked_interval(second, jackknife(second), flattery, picked=picked)


def _joined(first: ScoreTable, second: ScoreTable, metric: str) -> ScoreTable | None:
    """Return the scores of a trial on both parts, every example a unit; None if a part has none."""
    early, late = statistics_of(first, metric), statistics_of(second, metric)
    if early is None or late is None or early.shape[1] != late.shape[1]:
        return None
    joined = np.concatenate((early, late))
    ids = (*first.example_ids, *second.example_ids)
    return ScoreTable(
        example_ids=ids,
        groups=ids,
        metrics={},
        statistics={metric: joined},
        signatures=first.signatures,
        aggregate={metric: float(aggregate_of(metric)(joined.sum(axis=0)))},
    )
