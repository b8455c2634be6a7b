"""How much the best of several trials seems better than it is."""

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.scored import Scored


def optimism(scored: Scored, drawn: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    """Estimate by how much the picked trial's value exceeds its true value on average.

    Bootstrap bias-corrected cross-validation (Tsamardinos, Greasidou and Borboudakis, 2018): in resample b
    pick j_b = argmax_i S_bi and score it on the units that were not drawn. The optimism is v_p minus the
    mean of these scores over resamples with undrawn units.

    Args:
        scored: scores of the trials.
        drawn: counts of the units in each resample, float64 [B, G].
        values: `resampled_values(scored, drawn)`, float64 [N, B].

    Returns:
        The optimism in units of the metric, positive if the value flatters; 0 for one trial alone, None if
        no resample leaves a unit undrawn.
    """
    if len(scored.keys) == 1:
        return 0.0
    undrawn = (drawn == 0).astype(np.float64)
    usable = undrawn.any(axis=1) & np.isfinite(values).all(axis=0)
    picked = np.where(usable, np.argmax(np.nan_to_num(values, nan=-np.inf), axis=0), -1)
    fresh = np.full(len(drawn), np.nan)
    for trial in np.unique(picked[usable]):
        here = picked == trial
        fresh[here] = scored.sign * scored.aggregate(undrawn[here] @ scored.columns[trial])
    fresh = fresh[np.isfinite(fresh)]
    return float(scored.values[scored.picked] - fresh.mean()) if len(fresh) else None
