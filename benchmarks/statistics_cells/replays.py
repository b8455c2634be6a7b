"""Replays of studies: true quality of the published file by each rule, where seeds move scores."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.candidates import MOST
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.scored import Scored
from statistics_cells import score_kinds
from statistics_cells.cells import Cell
from statistics_cells.generator import Truth

TOP, SEEDS = 3, 5
"""Settings that are trained again, and new seeds of each: the defaults of `loratory confirm`."""
_GRID = np.linspace(-8, 5, 4001)


def replayed_figures(cell: Cell, rng: np.random.Generator) -> dict[str, float]:
    """Publish by each rule, and judge what is published.

    Qualities are true values as shares of the best settings' mean over seeds; the best of many files is above
    1, because its seed was lucky. Optimism is how much the value by which a file was chosen is above its true
    one, in the same unit. `by larger select` scores every trial on the examples of both parts.
    """
    truth, best = drawn_settings(cell, rng)
    select, confirm = truth.score(cell.examples, rng), truth.score(cell.confirm, rng)
    seed = int(rng.integers(2**32))
    true = truth.values / best
    search = np.arange(cell.trials)
    again = _retrained(select, cell.trials)
    by_seeds = _best_seed(select, again)
    five, pooled = _by_both(select, confirm, search, seed)
    all_five, all_pooled = _by_both(select, confirm, np.concatenate([search, again.ravel()]), seed)
    picked = int(select.values[search].argmax())
    both = select.sign * select.aggregate((select.totals + confirm.totals)[search])
    large = int(both.argmax())
    return {
        "by select": float(true[picked]),
        "by seeds": float(true[by_seeds]),
        "by larger select": float(true[large]),
        "by confirm": float(true[five]),
        "by confirm, retrained too": float(true[all_five]),
        "truly best": float(true[search].max()),
        "optimism by select": float(select.values[picked] / best - true[picked]),
        "optimism by larger select": float(both[large] / best - true[large]),
        "optimism by seeds": float(select.values[by_seeds] / best - true[by_seeds]),
        "optimism by confirm": float(pooled / best - true[five]),
        "optimism by confirm, retrained too": float(all_pooled / best - true[all_five]),
    }


def drawn_settings(cell: Cell, rng: np.random.Generator) -> tuple[Truth, float]:
    """Draw settings, each trained once in the search and on new seeds.

    Of the settings 40% are near the best, 35% further behind, the rest bad.

    Returns:
        The trainings: those of the search, then the new seeds of each settings in their order; and the mean
        over seeds of the best settings' true value.
    """
    bad, near = cell.trials // 4, int(0.4 * cell.trials)
    behind = np.concatenate(
        [
            np.abs(rng.normal(0, 0.015, near)),
            np.abs(rng.normal(0, 0.06, cell.trials - bad - near)),
            rng.uniform(0.2, 0.9, bad),
        ]
    )
    settings = np.concatenate([np.arange(cell.trials), np.repeat(np.arange(cell.trials), SEEDS)])
    shares = 1 - behind[settings] + rng.normal(0, cell.seeds, len(settings))
    middle = np.array([score_kinds.MIDDLE[cell.metric]])
    top = float(score_kinds.true_values(cell, middle)[0])
    skills = np.interp(top * shares, score_kinds.true_values(cell, _GRID), _GRID)
    return Truth(cell=cell, skills=skills, settings=settings), top * float(1 - behind.min())


def _retrained(select: Scored, trials: int) -> NDArray[np.intp]:
    """Return the new seeds of the best settings of the search, [TOP, SEEDS], by their place."""
    best = np.argsort(-select.values[:trials], kind="stable")[:TOP]
    return trials + best[:, None] * SEEDS + np.arange(SEEDS)


def _best_seed(select: Scored, again: NDArray[np.intp]) -> int:
    """Return the best new seed of the settings with the best mean of the new seeds."""
    values = select.values[again]
    settings = int(values.mean(axis=1).argmax())
    return int(again[settings, values[settings].argmax()])


def _by_both(select: Scored, confirm: Scored, among: NDArray[np.intp], seed: int) -> tuple[int, float]:
    """Return the best of five candidates by select and confirm together, with its value."""
    right = None if select.right is None else select.right[among]
    keys = tuple(select.keys[i] for i in among)
    known = replace(select, keys=keys, columns=select.columns[among], right=right)
    best = may_be_best(known, resamples(known.units, seed=seed)).keys[:MOST]
    five = np.array([select.keys.index(key) for key in best])
    values = select.sign * select.aggregate(select.totals[five] + confirm.totals[five])
    return int(five[values.argmax()]), float(values.max())
