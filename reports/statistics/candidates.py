"""The trials worth scoring again before one of them is published."""

from collections.abc import Mapping

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

MOST = 5
"""Number of trials that are scored again."""


def candidates(
    tables: Mapping[str, ScoreTable],
    metric: str,
    direction: Direction,
    *,
    seed: int,
    most: int = MOST,
) -> tuple[str, ...]:
    """Return the keys of the best trials among those that may be the best, best first.

    Args:
        tables: per-example scores of the finished trials, by key; the first of equal trials comes first.
        metric: the metric that ranks.
        direction: which values are better.
        seed: seed of the study.
        most: largest number of keys.

    Returns:
        At most `most` keys; none if no trial has usable scores.
    """
    found, _ = scored(tables, metric, direction)
    if found is None:
        return ()
    return may_be_best(found, resamples(found.units, seed=seed)).keys[:most]
