"""Two models of which few examples are right for one alone: how sure their difference is said to be."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

from loratory.reports.statistics.differences import gains_over
from loratory.reports.statistics.fixed_interval import student_quantile
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.score_interval import score_interval
from statistics_cells.generator import Study

EXAMPLES, DISCORDANT = (20, 50, 200), (0.02, 0.05, 0.1, 0.4)
RULES = ("jackknife", "Tango, normal quantile", "Tango, Student's t")
_ROUNDING = 1e-12

Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def discordant_figures(study: Study) -> dict[str, float]:
    """Judge the intervals of all differences to the first trial, by the procedure and by the jackknife.

    Returns:
        For either: the share of intervals that hold the true difference (`held`), and the share of trials
        that are said to be better or worse than the first without being so (`wrongly told`).
    """
    scored, errors = study.scored, jackknife(study.scored)
    true = (study.true - study.true[0])[1:]
    ours, margins = gains_over(scored, errors, 0), student_quantile(scored) * errors.paired(0)
    rules = {
        "": (ours.low[1:], ours.high[1:]),
        " by jackknife": ((ours.values - margins)[1:], (ours.values + margins)[1:]),
    }
    found = {}
    for name, (low, high) in rules.items():
        held = (low - _ROUNDING <= true) & (true <= high + _ROUNDING)
        wrong = ((low > 0) & (true <= _ROUNDING)) | ((high < 0) & (true >= -_ROUNDING))
        found |= {f"held{name}": float(held.mean()), f"wrongly told{name}": float(wrong.mean())}
    return found


def exact_shares(examples: int, discordant: float, gain: float) -> dict[str, tuple[float, float]]:
    """Compute without simulation how often an interval holds the true difference, and leaves out zero.

    Args:
        examples: number of examples.
        discordant: probability that only one of both models has an example right.
        gain: by how much the first has more right; at most `discordant`.

    Returns:
        By rule: the probability that the interval holds `gain`, and that it leaves out zero.
    """
    won, lost = (each.ravel() for each in np.indices((examples + 1, examples + 1)))
    possible = won + lost <= examples
    won, lost = won[possible], lost[possible]
    both = won + lost
    chance = binom.pmf(both, examples, discordant) * binom.pmf(won, both, (1 + gain / discordant) / 2)
    found = {}
    for name, (low, high) in _rules(won.astype(float), lost.astype(float), examples).items():
        held = (low - _ROUNDING <= gain) & (gain <= high + _ROUNDING)
        found[name] = float(chance[held].sum()), float(chance[(low > 0) | (high < 0)].sum())
    return found


def _rules(won: NDArray[np.float64], lost: NDArray[np.float64], examples: int) -> dict[str, Ends]:
    quantile = float(t.isf(0.025, examples - 1))
    gain = (won - lost) / examples
    spread = (won + lost - (won - lost) ** 2 / examples) / (examples * (examples - 1))
    margin = quantile * np.sqrt(np.maximum(spread, 0.0))
    counts = np.full_like(won, examples)
    ends = (
        (gain - margin, gain + margin),
        score_interval(won, lost, counts, 1.959964),
        score_interval(won, lost, counts, quantile),
    )
    return dict(zip(RULES, ends, strict=True))
