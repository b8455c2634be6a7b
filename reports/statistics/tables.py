"""Which per-example scores can be compared, and their statistics."""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics.text_metric import mean_statistics
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.aggregates import aggregate_of, is_corpus_metric


def shared_examples(tables: Iterable[ScoreTable]) -> tuple[str, ...]:
    """Return the examples that most tables have; of equally frequent ones the first."""
    counts = Counter(table.example_ids for table in tables if table.example_ids)
    return counts.most_common(1)[0][0] if counts else ()


def columns_of(table: ScoreTable, metric: str) -> NDArray[np.float64] | None:
    """Return the statistics of the examples, [n, d], for `aggregate_of`; None if the table has none."""
    statistics = table.statistics.get(metric)
    if statistics is not None and (is_corpus_metric(metric) or statistics.shape[1] == 2):
        return statistics
    if metric in table.metrics and not is_corpus_metric(metric):
        return mean_statistics(table.metrics[metric])
    return None


def why_unusable(
    table: ScoreTable,
    metric: str,
    columns: NDArray[np.float64] | None,
    *,
    example_ids: tuple[str, ...],
    width: int | None,
) -> str | None:
    """Return why scores cannot be compared with the others; None if they can."""
    if columns is None:
        return f"its scores have no {metric}"
    if not table.example_ids:
        return "its scores have no examples"
    if table.example_ids != example_ids or len(columns) != len(example_ids):
        return "its scores are of other examples"
    if not np.isfinite(columns).all():
        return f"its {metric} is not finite on every example"
    if width not in (None, columns.shape[1]):
        return f"its {metric} has statistics of {columns.shape[1]} numbers, those of others {width}"
    whole, recorded = float(aggregate_of(metric)(columns.sum(axis=0))), table.aggregate.get(metric, math.nan)
    if not math.isclose(whole, recorded, rel_tol=1e-6, abs_tol=1e-9):
        return f"its examples give {metric} {whole:.6g}, recorded is {recorded:.6g}"
    return None
