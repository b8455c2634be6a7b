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
from loratory.reports.statistics.scored import Scored, scored
from loratory.reports.statistics.tables import columns_of
from loratory.reports.statistics.units import summed_by_unit, units_of
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
    parts = {key: table for key in second if (table := joined(first[key], second[key], metric))}
    # Units of the first part may be groups and those of the second examples: every example is one here.
    apart = {key: replace(table, groups=table.example_ids) for key, table in parts.items()}
    found, _ = scored(apart, metric, direction)
    if found is None:
        return None
    table = second[found.keys[0]]
    unit, unit_of_example = units_of(table.groups)
    later = found.columns[:, found.examples - len(table.groups) :]
    columns = summed_by_unit(later, unit_of_example)
    right = None if found.right is None else found.right[:, found.examples - len(table.groups) :]
    second_part = replace(found, unit=unit, examples=later.shape[1], columns=columns, right=right)
    return Pooled(both=found, second=second_part)


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


def joined(first: ScoreTable, second: ScoreTable, metric: str) -> ScoreTable | None:
    """Join one model's scores on two parts without common examples.

    Args:
        first: per-example scores on the first part; its signatures are kept.
        second: those on the second part.
        metric: name of a metric, the only one of the result.

    Returns:
        The scores on both, with the groups of both; None if a part has no scores of the metric.
    """
    early, late = columns_of(first, metric), columns_of(second, metric)
    if early is None or late is None or early.shape[1] != late.shape[1]:
        return None
    columns = np.concatenate((early, late))
    return ScoreTable(
        example_ids=(*first.example_ids, *second.example_ids),
        groups=(*first.groups, *second.groups),
        metrics={},
        statistics={metric: columns},
        signatures=first.signatures,
        aggregate={metric: float(aggregate_of(metric)(columns.sum(axis=0)))},
    )
