"""Trials' per-example scores as sums over the units that are resampled together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.aggregates import Aggregate, aggregate_of, is_corpus_metric, ratio
from loratory.reports.statistics.tables import columns_of, shared_examples, why_unusable
from loratory.reports.statistics.units import summed_by_unit, units_of
from loratory.spaces.metric_names import METRICS, Direction

_RIGHT_OR_WRONG = ("exact_match", "squad_exact_match", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One metric of N trials on the same n examples.

    Units are groups where the data names them, since rows of one document resemble each other, else
    examples. Groups are never replaced by examples, however few they are.

    Attributes:
        metric: name of the metric.
        keys: N keys of trials, in the order given.
        unit: `example` or `group`.
        examples: number n of examples.
        columns: float64 [N, G, d], statistics of the examples summed over each of G units.
        aggregate: computes the metric, [...], from sums of columns, [..., d].
        sign: 1 if larger values are better, else -1.
        top: value of a right example if every example of every trial is right or wrong (1 or 100), else
            None.
        right: which examples each trial has right, bool [N, n]; None without `top`, and where a score that
            need not be right or wrong is 0 on all examples of all trials.
    """

    metric: str
    keys: tuple[str, ...]
    unit: str
    examples: int
    columns: NDArray[np.float64]
    aggregate: Aggregate
    sign: float
    top: float | None = None
    right: NDArray[np.bool_] | None = None

    @property
    def units(self) -> int:
        """Number G of units."""
        return int(self.columns.shape[1])

    @cached_property
    def range(self) -> tuple[float, float]:
        """Smallest and largest possible value of the metric; infinite where no limit is known, or kept."""
        known = METRICS.get(self.metric)
        if known is None:
            return -math.inf, math.inf
        low, high = 0.0, math.inf if known.largest is None else known.largest
        of_units = self.values * self.sign if is_corpus_metric(self.metric) else ratio(self.columns)
        kept = low <= of_units.min() and of_units.max() <= high * (1 + 1e-9)
        return (low, high) if kept else (-math.inf, math.inf)

    @property
    def width(self) -> float:
        """Largest possible difference between two values."""
        low, high = self.range
        return high - low

    def within(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values, those outside the metric's range moved to its ends."""
        return np.clip(values, *self.range)

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """Sums over all units, float64 [N, d]."""
        totals: NDArray[np.float64] = self.columns.sum(axis=1)
        return totals

    @cached_property
    def both_right(self) -> NDArray[np.float32]:
        """Number of examples that two trials have right, float32 [N, N]; on the diagonal those of one."""
        assert self.right is not None
        right = self.right.astype(np.float32)
        return right @ right.T

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The metric times `sign`, float64 [N]: larger is better."""
        return self.sign * self.aggregate(self.totals)

    @property
    def picked(self) -> int:
        """Index of the trial with the best value; the first of equal ones."""
        return int(np.argmax(self.values))

    @property
    def best_first(self) -> NDArray[np.intp]:
        """Indices of the trials by value, [N]; equal values keep their order."""
        return np.argsort(-self.values, kind="stable")


def scored(
    tables: Mapping[str, ScoreTable], metric: str, direction: Direction
) -> tuple[Scored | None, dict[str, str]]:
    """Gather the scores of trials that were measured on the same examples.

    Args:
        tables: per-example scores by key.
        metric: name of a metric.
        direction: which values are better.

    Returns:
        The scores, None if no trial has usable ones; and the reason by key for each trial that is left out.
    """
    example_ids = shared_examples(tables.values())
    taken: dict[str, NDArray[np.float64]] = {}
    left_out: dict[str, str] = {}
    for key, table in tables.items():
        columns = columns_of(table, metric)
        width = next((len(other[0]) for other in taken.values()), None)
        reason = why_unusable(table, metric, columns, example_ids=example_ids, width=width)
        if reason is None and columns is not None:
            taken[key] = columns
        else:
            left_out[key] = reason or "no scores"
    if not taken:
        return None, left_out
    return _gathered(taken, tables[next(iter(taken))], metric, direction), left_out


def _gathered(
    taken: Mapping[str, NDArray[np.float64]], table: ScoreTable, metric: str, direction: Direction
) -> Scored:
    stacked = np.stack(list(taken.values()))
    if metric == "macro_f1":
        stacked = _without_unseen_labels(stacked)
    unit, unit_of_example = units_of(table.groups)
    top = None if is_corpus_metric(metric) else _top(stacked)
    return Scored(
        metric=metric,
        keys=tuple(taken),
        unit=unit,
        examples=stacked.shape[1],
        columns=summed_by_unit(stacked, unit_of_example),
        aggregate=aggregate_of(metric),
        sign=1.0 if direction is Direction.MAXIMIZE else -1.0,
        top=top,
        right=_right(stacked, metric, top),
    )


def _without_unseen_labels(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop the labels of macro F1 that no trial answered and no example has: they never count."""
    by_label = columns.reshape(*columns.shape[:2], 3, -1)
    seen = by_label[:, :, 1:].any(axis=(0, 1, 2))
    return by_label[..., seen].reshape(*columns.shape[:2], -1)


def _top(columns: NDArray[np.float64]) -> float | None:
    """Return the value of a right example if examples are right or wrong, else None."""
    if not (columns[..., 1] == 1).all():
        return None
    values = columns[..., 0]
    return next((top for top in (1.0, 100.0) if ((values == 0) | (values == top)).all()), None)


def _right(columns: NDArray[np.float64], metric: str, top: float | None) -> NDArray[np.bool_] | None:
    """Return which examples each trial has right, [N, n]; None where that has no meaning."""
    if top is None:
        return None
    right: NDArray[np.bool_] = columns[..., 0] == top
    return right if metric in _RIGHT_OR_WRONG or right.any() else None
