"""Which parameters are associated with good trials, and whether chance alone would do it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from loratory.objectives.records import TrialRecord, TrialState
from loratory.reports.associations import Association, Importance
from loratory.reports.statistics.parameter_grid import cells, densities
from loratory.spaces.metric_names import Direction
from loratory.spaces.search_space import SearchSpace

TITLE = "Associated with good trials"
FEWEST_TRIALS = 6
"""With fewer trials nothing is computed."""
_FEWEST_BEST = 2
FEW_TRIALS = 20
"""With fewer trials hardly anything can be shown."""
TOP_TRIALS = 5
"""Number of best trials that PED-ANOVA needs, by Optuna's documentation."""
PERMUTATIONS = 1000
ERROR = 0.05
_TINY = 1e-12


def parameter_importance(
    records: Sequence[TrialRecord], space: SearchSpace, direction: Direction, *, seed: int
) -> Importance:
    """Compute PED-ANOVA (Watanabe, Bansal and Hutter, 2023) with p adjusted for all parameters.

    raw_k is the Pearson divergence of parameter k's density among the best trials from that among all. The
    best are the top tenth, but at least five trials (at most half). Values are permuted over trials 1,000
    times: p_k = (1 + #{max_j raw_j* >= raw_k}) / 1,001 (Westfall and Young, 1993). Pruned and diverged trials
    count as the worst. Points of a sampler that learns are not independent, so p is approximate.

    Args:
        records: all trials; those that neither completed nor were pruned are left out.
        space: the search space; trials of another space are left out.
        direction: which values are better.
        seed: seed of the study.
    """
    trials = [found for record in records if (found := _trial(record, space, direction)) is not None]
    count = len(trials)
    if count < FEWEST_TRIALS:
        return Importance(trials=count, note=f"too few trials: {count}, and {FEWEST_TRIALS} are needed.")
    values = np.array([value for value, _ in trials])
    finite = int(np.isfinite(values).sum())
    top = min(math.ceil(max(count / 10, min(count / 2, TOP_TRIALS))), finite)
    if top < _FEWEST_BEST:
        return Importance(
            trials=count, note=f"too few complete trials: {finite}, and {_FEWEST_BEST} are needed."
        )
    best = values >= np.sort(values)[-top]  # equal values are all in
    divergences = _divergences([params for _, params in trials], space, _shuffled(best, seed))
    return Importance(trials=count, associations=_tested(divergences), note=_note(count, int(best.sum())))


def _note(count: int, best: int) -> str:
    few = f" So few trials cannot tell: {FEW_TRIALS} are needed." if count < FEW_TRIALS else ""
    return f"PED-ANOVA over {count} trials, the best {best} against all; p by permutation, approximate.{few}"


def _trial(
    record: TrialRecord, space: SearchSpace, direction: Direction
) -> tuple[float, Mapping[str, object]] | None:
    """Return a trial's value, larger = better, and its stored parameters; None if it tells nothing."""
    value = -math.inf
    if record.state is TrialState.COMPLETE:
        if not record.values or not math.isfinite(record.values[0]):
            return None
        value = record.values[0] if direction is Direction.MAXIMIZE else -record.values[0]
    elif record.state is not TrialState.PRUNED:
        return None
    try:
        params = space.encode(record.params)
    except (KeyError, ValueError):
        return None
    return (value, params) if params.keys() == space.root.keys() else None


def _shuffled(best: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """Return which trials are among the best: as it is, then permuted, float64 [1 + 1,000, T]."""
    sets = np.tile(best, (1 + PERMUTATIONS, 1))
    sets[1:] = np.random.default_rng(seed).permuted(sets[1:], axis=1)
    return sets.astype(np.float64)


def _divergences(
    params: Sequence[Mapping[str, object]], space: SearchSpace, sets: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Compute each parameter's divergence for each set of best trials, [1 + 1,000]."""
    return {
        name: _divergence(distribution, [trial[name] for trial in params], sets)
        for name, distribution in space.distributions().items()
    }


def _divergence(
    distribution: BaseDistribution, values: Sequence[object], sets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute sum over cells of all (best / all - 1)^2 for each set of best trials."""
    if distribution.single():
        return np.zeros(len(sets))
    places, count = cells(distribution, values)
    in_cell = np.eye(count)[places]
    counts, which = np.unique(sets @ in_cell, axis=0, return_inverse=True)
    categorical = isinstance(distribution, CategoricalDistribution)
    everywhere = densities(in_cell.sum(axis=0, keepdims=True), categorical=categorical) + _TINY
    among_best = densities(counts, categorical=categorical) + _TINY
    squared = (among_best / everywhere - 1) ** 2 @ everywhere[0]
    divergence: NDArray[np.float64] = squared[which.reshape(-1)]
    return divergence


def _tested(divergences: Mapping[str, NDArray[np.float64]]) -> tuple[Association, ...]:
    largest = np.max(list(divergences.values()), axis=0)[1:]
    found = []
    for name, each in divergences.items():
        # A permutation that gives the same set may differ in the last digit.
        p = float(1 + (largest >= each[0] * (1 - 1e-9)).sum()) / (1 + PERMUTATIONS)
        found.append(Association(parameter=name, divergence=float(each[0]), p=p, shown=p <= ERROR))
    return tuple(sorted(found, key=lambda association: -association.divergence))
