"""The cheapest trial that is shown to be nearly as good as the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.differences import gain_ends, gaps
from loratory.reports.statistics.scored import Scored

MARGIN = 0.05
"""Share of the best value that a cheaper trial may lose."""
_ERROR = 0.05


@dataclass(frozen=True, kw_only=True)
class CheapestWithin:
    """Trials that are shown to be within a margin of the best.

    Attributes:
        margin: share of the best value.
        key: the first in order of cost that qualifies; None if no trial does.
        qualify: all that qualify, cheapest first.
        examples_needed: by key, cheapest first, the number of examples at which a trial would qualify if its
            differences and their spread stay as they are; trials whose gap is the margin or more are absent.
    """

    margin: float
    key: str | None
    qualify: tuple[str, ...]
    examples_needed: Mapping[str, int]


def cheapest_within(
    scored: Scored, errors: Deviations, cost: Mapping[str, Sequence[float]], *, margin: float = MARGIN
) -> CheapestWithin:
    """Find the cheapest trial that is within a margin of the best, by an intersection-union test.

    Trial c qualifies if for every trial i: v_i - v_c + t(G - 1, 0.95) se_ic <= margin * |v_p| (Berger,
    1982). All must hold, so none needs a correction. c alone would qualify at n max_i (t se_ic / (margin
    |v_p| - (v_i - v_c)))^2 examples. Where examples are right or wrong, t se is what Tango's interval adds.

    Args:
        scored: scores of the trials.
        errors: `jackknife(scored)`.
        cost: by key, what is compared in order, such as adapter bytes, then seconds of training.
        margin: share of the best value.
    """
    allowed = margin * abs(float(scored.values[scored.picked]))
    cheapest_first = sorted(range(len(scored.keys)), key=lambda i: tuple(cost[scored.keys[i]]))
    needed = {scored.keys[c]: _share(scored, errors, c, allowed) for c in cheapest_first}
    qualify = tuple(key for key, share in needed.items() if share <= 1)
    return CheapestWithin(
        margin=margin,
        key=qualify[0] if qualify else None,
        qualify=qualify,
        examples_needed={
            key: math.ceil(share * scored.examples) for key, share in needed.items() if math.isfinite(share)
        },
    )


def _noise(scored: Scored, errors: Deviations, c: int) -> NDArray[np.float64]:
    """Return by how much more than their values say trials may be better than c, [N]."""
    critical = float(t.isf(_ERROR, scored.units - 1))
    return gain_ends(scored, errors, c, quantile=critical, side=1) - gaps(scored, c)


def _share(scored: Scored, errors: Deviations, c: int, allowed: float) -> float:
    """Return max_i (noise_i / (allowed - gap_ic))^2, the multiple of the examples at which c qualifies."""
    room = allowed - (scored.values - scored.values[c])
    if (room < 0).any():
        return math.inf
    noise = _noise(scored, errors, c)
    noise[c] = 0.0
    tied = noise == 0
    if not (tied | (room > 0)).all() or not np.isfinite(noise).all():
        return math.inf
    return float(np.max((noise[~tied] / room[~tied]) ** 2, initial=0.0))
