"""The trials that may be the best, and what publishing another one may cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from loratory.reports.statistics.critical_value import critical_value
from loratory.reports.statistics.differences import difference_errors, gain_ends, gaps
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.resamples import resampled_deviations, resampled_values
from loratory.reports.statistics.scored import Scored

ERROR = 0.05
"""Chance that a statement about all trials is wrong."""


@dataclass(frozen=True, kw_only=True)
class BestSet:
    """The trials that may be the best.

    Attributes:
        keys: their keys, best value first.
        shortfall: by key of every trial, the most by which the best trial of the set may be better than it,
            in units of the metric; infinite where nothing bounds it. Empty if there is one unit alone, which
            tells nothing about chance.
    """

    keys: tuple[str, ...]
    shortfall: Mapping[str, float]


def may_be_best(scored: Scored, drawn: NDArray[np.float64]) -> BestSet:
    """Find the set that holds the best trial with a confidence of 95%.

    Multiple comparisons with the best (Hsu, 1984), on paired differences with critical values from shared
    resamples (Romano and Wolf, 2005; Mogstad, Romano, Shaikh and Wilhelm, 2024). Z_bi is the resampled value
    of trial i less its mean over resamples. d_k is the 0.95 quantile over b of
    max_{i != k} (Z_bi - Z_bk) / sd(Z_i - Z_k), mapped from the normal to the t distribution of G - 1 degrees
    of freedom. Trial k is in the set if max_i (v_i - v_k - d_k se_ik) <= 0. From the same event, for all
    trials at once: shortfall_i <= max over k in the set, k != i, of v_k - v_i + d_k se_ik. se_ik is that of
    `difference_errors`; where examples are right or wrong, the bound is Tango's (`gain_ends`).

    Identical files are tied. Trials that differ by the same amount on every unit tell nothing about chance,
    so neither excludes the other. A shortfall is no larger than the metric allows.

    Args:
        scored: scores of the trials.
        drawn: counts of the units in each resample, float64 [B, G].
    """
    order = scored.best_first
    if scored.units < 2:
        return BestSet(keys=tuple(scored.keys[i] for i in order), shortfall={})
    errors = jackknife(scored)
    spread = resampled_deviations(resampled_values(scored, drawn))
    bonferroni = float(t.isf(ERROR / max(1, len(scored.keys) - 1), scored.units - 1))
    shortfall = np.zeros(len(scored.keys))
    members = []
    for k in order:
        ahead, se = gaps(scored, k), difference_errors(scored, errors, k)
        # Bonferroni's critical value needs no resamples and drops most trials.
        if (ahead - _margins(se, bonferroni)).max() > 0:
            continue
        critical = critical_value(scored, spread, k, error=ERROR)
        if scored.right is not None:  # equal answers have no spread, and leave a difference open all the same
            critical = max(critical, float(t.isf(ERROR, scored.units - 1)))
        if (ahead - _margins(se, critical)).max() > 0:
            continue
        members.append(scored.keys[k])
        bound = 0.0 - gain_ends(scored, errors, k, quantile=critical, side=-1)
        bound[k] = 0.0
        np.maximum(shortfall, bound, out=shortfall)
    return BestSet(keys=tuple(members), shortfall=dict(zip(scored.keys, shortfall.tolist(), strict=True)))


def _margins(se: NDArray[np.float64], critical: float) -> NDArray[np.float64]:
    """Return critical * se, [N]; infinite where the error is unknown."""
    known = np.isfinite(se)
    return np.where(known, critical * np.where(known, se, 0.0), np.inf)
