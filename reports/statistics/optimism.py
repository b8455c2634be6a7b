"""Optimism: the mean excess of the picked trial's value over its true value."""

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.scored import Scored


def optimism(
    scored: Scored,
    drawn: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    picked: int | None = None,
) -> float | None:
    """Estimate by how much the picked trial's value exceeds its true value on average.

    After bootstrap bias-corrected cross-validation (Tsamardinos, Greasidou and Borboudakis, 2018): in
    resample b pick j_b = argmax_i S_bi, and score it and the picked trial p on the units that were not drawn.
    The optimism is the mean over resamples of p's score less j_b's. The authors subtract from v_p; but the
    value of a corpus metric depends on how many units it is computed from, which on the same units cancels
    (docs/statistics.md has both on the same studies).

    Args:
        scored: scores of the trials.
        drawn: counts of the units in each resample, float64 [B, G].
        values: what the choice is made by on each resample, larger = better, float64 [N, B]:
            `resampled_values(scored, drawn)`, with `beside` where other examples have a say.
        picked: index of the picked trial; None: the one with the best value of `scored`.

    Returns:
        The optimism in units of the metric, positive if the value flatters; 0 for one trial alone, None if
        no resample leaves a unit undrawn.
    """
    if len(scored.keys) == 1:
        return 0.0
    undrawn = (drawn == 0).astype(np.float64)
    usable = undrawn.any(axis=1) & np.isfinite(values).all(axis=0)
    best = np.where(usable, np.argmax(np.nan_to_num(values, nan=-np.inf), axis=0), -1)
    own = scored.columns[scored.picked if picked is None else picked]
    losses = scored.sign * scored.aggregate(undrawn @ own)
    for trial in np.unique(best[usable]):
        here = best == trial
        losses[here] -= scored.sign * scored.aggregate(undrawn[here] @ scored.columns[trial])
    losses = losses[usable & np.isfinite(losses)]
    return float(losses.mean()) if len(losses) else None
