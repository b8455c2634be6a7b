"""Batches of studies of one cell, and means over batches."""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statistics_cells.cells import AnyCell, Cell, RuleCell, SearchCell
from statistics_cells.confirmed import confirmed_figures
from statistics_cells.discordant import discordant_figures
from statistics_cells.figures import figures
from statistics_cells.further_search import search_figures
from statistics_cells.generator import draw_study
from statistics_cells.optimism_rules import rule_figures
from statistics_cells.replays import replayed_figures

BATCH = 25
"""Studies per line of results."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over the studies of a cell.

    Attributes:
        studies: number of studies.
        means: mean of each figure.
        errors: standard error of each mean.
    """

    studies: int
    means: Mapping[str, float]
    errors: Mapping[str, float]


def run_batch(cell: AnyCell, first: int, count: int = BATCH) -> dict[str, Any]:
    """Draw and judge studies; each depends on its cell and number alone.

    Args:
        cell: kind of study.
        first: number of the first study.
        count: number of studies.

    Returns:
        A line of results: sums of figures and of their squares over the studies.
    """
    rows = [_row(cell, number) for number in range(first, first + count)]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "cell": cell.name,
        "first": first,
        "studies": count,
        "sums": {name: float(each.sum()) for name, each in values.items()},
        "squares": {name: float((each**2).sum()) for name, each in values.items()},
    }


def summarize(lines: Iterable[Mapping[str, Any]], cell: AnyCell) -> Summary | None:
    """Return the means of a cell over lines of results; None if there are none."""
    mine = list({line["first"]: line for line in lines if line["cell"] == cell.name}.values())
    studies = sum(line["studies"] for line in mine)
    if not studies:
        return None
    means, errors = {}, {}
    for name in mine[0]["sums"]:
        mean = sum(line["sums"][name] for line in mine) / studies
        variance = max(0.0, sum(line["squares"][name] for line in mine) / studies - mean**2)
        means[name], errors[name] = mean, math.sqrt(variance / studies)
    return Summary(studies=studies, means=means, errors=errors)


def _row(cell: AnyCell, number: int) -> dict[str, float]:
    if isinstance(cell, SearchCell):
        return search_figures(cell, number)
    if isinstance(cell, RuleCell):
        return rule_figures(cell.cell, _rng(cell.cell, number))
    rng = _rng(cell, number)
    if cell.seeds:
        return replayed_figures(cell, rng)
    if cell.confirm:
        return confirmed_figures(cell, rng)
    study = draw_study(cell, rng)
    found = figures(study, rng)
    return found | discordant_figures(study) if cell.right else found


def _rng(cell: Cell, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(cell.name.encode()), number])
