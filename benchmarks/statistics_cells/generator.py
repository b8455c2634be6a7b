"""Scores of trials with known true values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loratory.reports.statistics.aggregates import aggregate_of
from loratory.reports.statistics.scored import Scored
from statistics_cells import score_kinds
from statistics_cells.cells import Cell

_SHARED = 0.72  # of the variation of an example's scores: its difficulty, the same for all trials
_METRIC_NAMES = {"rouge": "rougeL", "accuracy": "accuracy", "bleu": "bleu", "macro_f1": "macro_f1"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """One synthetic study.

    Attributes:
        scored: what a report sees.
        true: value of each trial over endlessly many examples, float64 [N].
    """

    scored: Scored
    true: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Qualities of trials, from which any number of examples can be scored.

    Attributes:
        cell: kind of study.
        skills: latent quality of each trial, float64 [N].
        settings: number of each trial's settings, int [N]; None: no two trials have the same. Half of what is
            a trial's own in an example's scores belongs to its settings.
    """

    cell: Cell
    skills: NDArray[np.float64]
    settings: NDArray[np.intp] | None = None

    @classmethod
    def draw(cls, cell: Cell, rng: np.random.Generator) -> "Truth":
        """Draw the trials of a study."""
        return cls(cell=cell, skills=(cell.right or score_kinds.MIDDLE[cell.metric]) - _behind(cell, rng))

    @property
    def values(self) -> NDArray[np.float64]:
        """The metric of each trial over endlessly many examples, float64 [N]."""
        return score_kinds.true_values(self.cell, self.skills)

    def score(self, examples: int, rng: np.random.Generator) -> Scored:
        """Score all trials on so many new examples."""
        groups = _groups(self.cell, examples, rng)
        difficulty = _variation(self.cell, groups, 1, rng)
        own = self._own(groups, rng)
        latent = self.skills + np.sqrt(_SHARED) * difficulty + np.sqrt(1 - _SHARED) * own
        columns = score_kinds.columns(self.cell, latent, rng)
        metric = _METRIC_NAMES[self.cell.metric]
        return Scored(
            metric=metric,
            keys=tuple(f"{i:04d}" for i in range(len(self.skills))),
            unit="group" if self.cell.grouped else "example",
            examples=examples,
            columns=_summed(columns, groups).transpose(1, 0, 2),
            aggregate=aggregate_of(metric),
            sign=1.0,
            top=1.0 if self.cell.metric == "accuracy" else None,
            right=columns[..., 0].T > 0 if self.cell.metric == "accuracy" else None,
        )

    def _own(self, groups: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return standard normal numbers, [n, N]: what is not common to all trials."""
        own = _variation(self.cell, groups, len(self.skills), rng)
        if self.settings is None:
            return own
        shared = _variation(self.cell, groups, int(self.settings.max()) + 1, rng)[:, self.settings]
        mixed: NDArray[np.float64] = np.sqrt(0.5) * (shared + own)
        return mixed


def draw_study(cell: Cell, rng: np.random.Generator) -> Study:
    """Draw the trials and the scores of a study."""
    truth = Truth.draw(cell, rng)
    return Study(scored=truth.score(cell.examples, rng), true=truth.values)


def _behind(cell: Cell, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return by how much each trial's latent quality is behind the best, [N]."""
    if cell.scenario == "tied":
        return np.zeros(cell.trials)
    if cell.scenario == "single":
        return np.append(0.0, 0.05 + np.abs(rng.normal(0, 0.3, cell.trials - 1)))
    tied, bad = (cell.trials // 8 if cell.trials > 20 else 2), cell.trials // 4
    near = np.abs(rng.normal(0, 0.15, cell.trials - tied - bad))
    return np.concatenate([np.zeros(tied), near, rng.uniform(0.6, 1.6, bad)])


def _groups(cell: Cell, examples: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the group of each example, [n]: groups of unlike sizes, none empty."""
    if not cell.grouped:
        return np.arange(examples)
    sizes = rng.gamma(2.0, 1.0, max(2, examples // cell.group_size))
    drawn = rng.choice(len(sizes), examples, p=sizes / sizes.sum())
    return np.unique(drawn, return_inverse=True)[1]


def _variation(
    cell: Cell, groups: NDArray[np.intp], columns: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return standard normal numbers, [n, columns], that resemble each other within a group."""
    own = rng.standard_normal((len(groups), columns))
    if not cell.likeness:
        return own
    shared = rng.standard_normal((groups.max() + 1, columns))[groups]
    return np.sqrt(cell.likeness) * shared + np.sqrt(1 - cell.likeness) * own


def _summed(columns: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum [n, N, d] over the examples of each group: [G, N, d]."""
    sums = np.zeros((groups.max() + 1, *columns.shape[1:]))
    np.add.at(sums, groups, columns)
    return sums
