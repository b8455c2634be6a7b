"""Statements of the procedures on one synthetic study, compared with its true values."""

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.cheapest import cheapest_within
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.differences import paired_difference
from loratory.reports.statistics.fixed_interval import fixed_intervals
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import picked_interval
from loratory.reports.statistics.resamples import resampled_values, resamples
from statistics_cells.generator import Study

MARGINS = (0.02, 0.05, 0.1)
_COMPETES = 0.35  # share of the best value by which trials that fixed intervals are checked on are behind
_ROUNDING = 1e-12


def figures(study: Study, rng: np.random.Generator) -> dict[str, float]:
    """Run all procedures on one study; shares are 0 or 1 for a study, sizes are shares of the best value."""
    drawn = resamples(study.scored.units, seed=int(rng.integers(2**32)))
    errors = jackknife(study.scored)
    return {
        **_of_fixed(study, errors),
        **_of_picked(study, errors, drawn),
        **_of_set(study, drawn),
        **_of_cheapest(study, errors, rng),
    }


def _of_fixed(study: Study, errors: Deviations) -> dict[str, float]:
    """Share of intervals that hold the true value, over the trials that compete; their width."""
    true, best = study.true, study.true.max()
    competes = true > (1 - _COMPETES) * best
    bounds = fixed_intervals(study.scored, errors)
    held = (bounds.low <= true) & (true <= bounds.high)
    paired = []
    for other in np.flatnonzero(competes)[1:]:
        _, low, high = paired_difference(study.scored, errors, trial=int(other), other=0)
        paired.append(low - _ROUNDING <= true[other] - true[0] <= high + _ROUNDING)
    return {
        "fixed": float(held[competes].mean()),
        "fixed width": float((bounds.high - bounds.low)[competes].mean() / best),
        "paired": float(np.mean(paired)) if paired else 1.0,
    }


def _of_picked(study: Study, errors: Deviations, drawn: NDArray[np.float64]) -> dict[str, float]:
    """Return coverage of the picked trial's true value by its interval, and estimated and true optimism."""
    picked, best = study.scored.picked, study.true.max()
    estimate = optimism(study.scored, drawn, resampled_values(study.scored, drawn))
    interval = picked_interval(study.scored, errors, estimate)
    true = study.true[picked]
    held = interval is not None and interval.low <= true <= interval.high
    above = study.scored.values - study.true
    return {
        "picked": float(held),
        "picked width": (interval.high - interval.low) / best if interval else np.nan,
        "optimism": (estimate or 0.0) / best,
        "true optimism": float(above[picked]) / best,
        "true optimism over all": float(above[picked] - above.mean()) / best,
    }


def _of_set(study: Study, drawn: NDArray[np.float64]) -> dict[str, float]:
    """Share of the truly best trials that the set holds, its size, whether all shortfalls are bounded."""
    found = may_be_best(study.scored, drawn)
    members = np.isin(study.scored.keys, found.keys)
    behind = study.true.max() - study.true
    bounds = np.array([found.shortfall[key] for key in study.scored.keys])
    picked = study.scored.picked
    return {
        "best in set": float(members[behind <= _ROUNDING].mean()),
        "size of set": float(members.sum()),
        "shortfall": float((behind <= bounds + _ROUNDING).all()),
        "shortfall of picked": float(bounds[picked] / study.true.max()),
        "true shortfall of picked": float(behind[picked] / study.true.max()),
    }


def _of_cheapest(study: Study, errors: Deviations, rng: np.random.Generator) -> dict[str, float]:
    """Return whether a trial no dearer than the picked one is named, and is behind by over the margin."""
    order = rng.permutation(len(study.true))
    cost = {key: (float(order[i]),) for i, key in enumerate(study.scored.keys)}
    behind = 1 - study.true / study.true.max()
    found = {}
    for margin in MARGINS:
        key = cheapest_within(study.scored, errors, cost, margin=margin).key
        named = study.scored.keys.index(key) if key is not None else None
        # The picked trial is always at hand: what is dearer is of no use.
        if named is not None and order[named] > order[study.scored.picked]:
            named = None
        found[f"named within {margin:.0%}"] = float(named is not None)
        found[f"wrong within {margin:.0%}"] = float(named is not None and behind[named] > margin + _ROUNDING)
    return found
