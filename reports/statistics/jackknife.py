"""Standard errors by leaving out one unit at a time."""

import numpy as np

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.scored import Scored

_CHUNK_NUMBERS = 4_000_000
"""Most numbers of an intermediate array: 32 MB."""


def jackknife(scored: Scored) -> Deviations:
    """Compute the jackknife (Efron and Stein, 1981) over units.

    With v_i(-u) = f(T_i - s_iu), the value without unit u, the deviations are sqrt((G - 1) / G) *
    (v_i(-u) - mean over u), so se_i^2 = (G - 1) / G * sum_u (v_i(-u) - mean)^2.

    Returns:
        Deviations of [N, G]; NaN for a trial whose value is undefined without some unit, and for all trials
        if G = 1.
    """
    trials, units, width = scored.columns.shape
    rows = np.full((trials, units), np.nan)
    if units == 1:
        return Deviations(rows=rows)
    step = max(1, _CHUNK_NUMBERS // (units * width))
    for start in range(0, trials, step):
        part = slice(start, start + step)
        rows[part] = scored.sign * scored.aggregate(scored.totals[part, None] - scored.columns[part])
    rows -= rows.mean(axis=1, keepdims=True)
    return Deviations(rows=rows * np.sqrt((units - 1) / units))
