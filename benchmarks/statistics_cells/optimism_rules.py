"""Two ways to compute the optimism, on the same studies."""

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import picked_interval
from loratory.reports.statistics.resamples import resampled_values, resamples
from loratory.reports.statistics.scored import Scored
from statistics_cells.cells import Cell
from statistics_cells.generator import draw_study


def rule_figures(cell: Cell, rng: np.random.Generator) -> dict[str, float]:
    """Estimate the optimism of the picked trial by both rules.

    Args:
        cell: kind of study.
        rng: as for `figures`, so that the study and its resamples are those of the other tables.

    Returns:
        By rule (`ours`, `theirs`): the optimism as a share of the best value, and whether the interval of the
        picked trial holds its true value; and the true optimism.
    """
    study = draw_study(cell, rng)
    scored, errors = study.scored, jackknife(study.scored)
    drawn = resamples(scored.units, seed=int(rng.integers(2**32)))
    values = resampled_values(scored, drawn)
    estimates = {"ours": optimism(scored, drawn, values), "theirs": _from_value(scored, drawn, values)}
    above, picked = scored.values - study.true, scored.picked
    found = {"true optimism": float(above[picked]) / study.true.max()}
    for rule, estimate in estimates.items():
        interval = picked_interval(scored, errors, estimate)
        held = interval is not None and interval.low <= study.true[picked] <= interval.high
        found |= {rule: (estimate or 0.0) / study.true.max(), f"held by {rule}": float(held)}
    return found


def _from_value(scored: Scored, drawn: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return v_p less the mean score of each resample's best on the units that were not drawn.

    As Tsamardinos, Greasidou and Borboudakis (2018) have it.
    """
    undrawn = (drawn == 0).astype(np.float64)
    best = np.argmax(values, axis=0)
    scores = np.full(len(drawn), np.nan)
    for trial in np.unique(best):
        here = (best == trial) & undrawn.any(axis=1)
        scores[here] = scored.sign * scored.aggregate(undrawn[here] @ scored.columns[trial])
    return float(scored.values[scored.picked] - np.nanmean(scores))
