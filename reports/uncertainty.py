"""Bootstrap intervals of trials' scores over the examples they were measured on.

Each trial gets its own interval. To find trials that are statistically tied with the best takes paired
comparisons with a correction; `resampled_scores` draws the same examples for every trial to allow them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.metrics import aggregate_from_statistics
from loratory.objectives.metrics.scoring import TEXT_METRICS
from loratory.objectives.metrics.text_metric import MeanMetric, mean_statistics
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import SCORES, StudyFolder
from loratory.reports.comparison_report import Uncertainty
from loratory.reports.findings import Interval
from loratory.spaces.errors import LoratoryError

_Aggregate = Callable[[NDArray[np.float64]], NDArray[np.float64]]

LEVEL = 0.95
RESAMPLES = 1000
FEWEST_GROUPS = 20
"""With fewer groups, single examples are drawn, since whole groups would be too few."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Counts of each unit in each resample.

    Attributes:
        example_ids: ids of the n examples.
        unit: `example` or `group`.
        units: number u of units.
        unit_of_example: int64 [n], index of each example's unit.
        draws: float64 [resamples, u].
    """

    example_ids: tuple[str, ...]
    unit: str
    units: int
    unit_of_example: NDArray[np.int64]
    draws: NDArray[np.float64]

    @property
    def described(self) -> Uncertainty:
        """The method of the intervals, for reports."""
        return Uncertainty(level=LEVEL, resamples=len(self.draws), unit=self.unit, units=self.units)


def read_table(folder: Path) -> ScoreTable | None:
    """Read the per-example scores in the folder of a trial or the base; None if there are none.

    Raises:
        LoratoryError: the file is damaged.
    """
    path = folder / SCORES
    try:
        return ScoreTable.from_bytes(path.read_bytes(), str(path)) if path.is_file() else None
    except (BadZipFile, ValueError, KeyError, OSError) as error:
        raise LoratoryError(f"{path}: must be per-example scores, is damaged: {error}") from error


def read_scoring(folder: StudyFolder, key: str) -> ScoreTable | None:
    """Read the per-example scores of a scoring outside any trial; None until it has its record."""
    return read_table(folder.score(key)) if folder.read_score(key) is not None else None


def resampling(table: ScoreTable, *, seed: int, resamples: int = RESAMPLES) -> Resampling:
    """Draw all units with replacement (Efron, 1979).

    Rows of one document resemble each other, so whole groups are drawn (the cluster bootstrap; Field and
    Welsh, 2007) if there are at least `FEWEST_GROUPS` of them and fewer groups than rows.

    Args:
        table: per-example scores; its examples are drawn.
        seed: seed of the draw.
        resamples: number of resamples.
    """
    grouped = FEWEST_GROUPS <= len(set(table.groups)) < len(table.groups)
    names = table.groups if grouped else table.example_ids
    _, unit_of_example = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    units = int(unit_of_example.max()) + 1
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    return Resampling(
        example_ids=table.example_ids,
        unit="group" if grouped else "example",
        units=units,
        unit_of_example=unit_of_example.astype(np.int64),
        draws=draws.astype(np.float64),
    )


def resampled_scores(table: ScoreTable, metric: str, drawn: Resampling) -> NDArray[np.float64] | None:
    """Compute the metric over each resample, float64 [resamples].

    A corpus metric is computed from the summed counts; any other metric is a mean over examples.

    Returns:
        None if the table is of other examples, if its scores are not finite, or if the statistics of the
        examples do not give the recorded value.
    """
    if table.example_ids != drawn.example_ids:
        return None
    estimator = _estimator(table, metric)
    if estimator is None:
        return None
    columns, aggregate = estimator
    whole = float(aggregate(columns.sum(axis=0, keepdims=True))[0])
    if not math.isclose(whole, table.aggregate.get(metric, math.nan), rel_tol=1e-6, abs_tol=1e-9):
        return None
    scores = aggregate(drawn.draws @ _summed(columns, drawn))
    return scores if np.isfinite(scores).all() else None


def intervals(tables: Mapping[str, ScoreTable], metric: str, drawn: Resampling) -> dict[str, Interval]:
    """Compute the percentile interval of each trial's score; trials without one are left out."""
    found = {}
    for key, table in tables.items():
        scores = resampled_scores(table, metric, drawn)
        if scores is not None:
            low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
            found[key] = Interval(low=low, high=high)
    return found


def _estimator(table: ScoreTable, metric: str) -> tuple[NDArray[np.float64], _Aggregate] | None:
    """Return statistics of the examples, [n, k], and a function from sums of them, [r, k], to values, [r]."""
    corpus = metric in TEXT_METRICS and not isinstance(TEXT_METRICS[metric], MeanMetric)
    if corpus and metric in table.statistics:
        return table.statistics[metric], lambda sums: np.array(
            [aggregate_from_statistics(metric, row) for row in sums]
        )
    if metric in table.statistics and table.statistics[metric].shape[1] == 2:
        return table.statistics[metric], _ratio
    if metric in table.metrics:
        return mean_statistics(table.metrics[metric]), _ratio
    return None


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        values: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return values


def _summed(columns: NDArray[np.float64], drawn: Resampling) -> NDArray[np.float64]:
    """Sum columns [n, k] over the examples of each unit: [u, k]."""
    sums = np.zeros((drawn.units, columns.shape[1]))
    np.add.at(sums, drawn.unit_of_example, columns)
    return sums
