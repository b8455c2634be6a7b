"""Quality of the choice by select and confirm together, and coverage of its interval on confirm alone."""

from dataclasses import replace

import numpy as np

from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.candidates import MOST
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import picked_interval
from loratory.reports.statistics.resamples import resampled_values, resamples
from statistics_cells.cells import Cell
from statistics_cells.generator import Truth


def confirmed_figures(cell: Cell, rng: np.random.Generator) -> dict[str, float]:
    """Choose among the best five of the set by select and confirm, and judge the choice.

    Qualities are shares of the best trial's. The interval is that of the picked trial on confirm alone among
    the five; its optimism allows for the choice by both parts, or (`alone`) for a choice by confirm alone.
    """
    truth = Truth.draw(cell, rng)
    true, best = truth.values, truth.values.max()
    select, confirm = truth.score(cell.examples, rng), truth.score(cell.confirm, rng)
    keys = may_be_best(select, resamples(select.units, seed=_seed(rng))).keys[:MOST]
    five = np.array([select.keys.index(key) for key in keys])
    right = None if confirm.right is None else confirm.right[five]
    fresh = replace(confirm, keys=keys, columns=confirm.columns[five], right=right)
    picked = int(np.argmax(fresh.aggregate(select.totals[five] + fresh.totals)))
    drawn, chosen = resamples(fresh.units, seed=_seed(rng)), true[five[picked]]
    found = {"quality by select": true[select.picked] / best, "quality confirmed": chosen / best}
    for name, beside in (("confirmed", select.totals[five]), ("confirmed, alone", None)):
        values = resampled_values(fresh, drawn, beside=beside)
        estimate = optimism(fresh, drawn, values, picked=picked)
        interval = picked_interval(fresh, jackknife(fresh), estimate, picked=picked)
        found[name] = float(interval is not None and interval.low <= chosen <= interval.high)
    return found


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))
