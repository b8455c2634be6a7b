"""Scores of one trial on several parts of the data, as if they were one part."""

from collections.abc import Sequence

import numpy as np

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.aggregates import aggregate_of
from loratory.reports.statistics.scored import statistics_of


def pooled(parts: Sequence[ScoreTable], metric: str) -> ScoreTable | None:
    """Join the scores of one model on parts without common examples.

    The value over all parts is computed from the statistics summed over all examples, so a corpus metric is
    that of the joined texts, and a mean weighs every example alike.

    Args:
        parts: per-example scores, one table per part.
        metric: the metric that is kept.

    Returns:
        The joined scores of this metric; None if a part has none per example.
    """
    columns = [statistics_of(part, metric) for part in parts]
    given = [column for column in columns if column is not None]
    if len(given) < len(parts) or len({column.shape[1] for column in given}) != 1:
        return None
    joined = np.concatenate(given)
    return ScoreTable(
        example_ids=tuple(name for part in parts for name in part.example_ids),
        groups=tuple(name for part in parts for name in part.groups),
        metrics={},
        statistics={metric: joined},
        signatures=parts[0].signatures,
        aggregate={metric: float(aggregate_of(metric)(joined.sum(axis=0)))},
    )
