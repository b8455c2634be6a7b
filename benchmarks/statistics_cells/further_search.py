"""Replayed searches: how often further trials change the best, beside the predicted chance.

A study searches a surface of learning rate, batch size, rank and epochs like that of LoRA fine-tuning, drawn
anew for each study, with four trials in flight, a median pruner, and noise of seed and select examples.
"""

import math
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray

from loratory.reports.statistics.candidates import MOST
from loratory.reports.statistics.further_search import chance_of_change
from loratory.spaces.samplers import SamplerName
from statistics_cells.cells import SearchCell

TRIALS, EVALUATIONS, IN_FLIGHT = 96, 4, 4
TRIED, FURTHER = (8, 12, 16, 24, 32, 48), (4, 8, 16, 32)
_UNSEEN = 10_000  # no search is one of those to which the rate of the prediction was fitted
_NOTHING = np.empty((2, 0))
BINS, COUNTED = 5, ("predicted", "by select", "by confirm", "count")
SEED_NOISE, DEV_NOISE = 0.02, 0.048
SELECT_NOISE = {500: 0.018, 150: 0.032}
"""Standard deviation of a score by the number of select examples; the best settings score about 1."""


@dataclass(frozen=True)
class Surface:
    """Quality of a setting, at most about 1, with the place of its optimum at random."""

    centre: float
    batch_shift: float
    rank_shift: float
    rank_gain: float
    batch_loss: float
    epoch_gain: float
    widths: tuple[float, float]
    edge: float

    @classmethod
    def drawn(cls, draw: np.random.Generator) -> "Surface":
        """Draw a surface."""
        return cls(
            centre=draw.normal(-3.5, 0.35),
            batch_shift=draw.uniform(0.3, 0.7),
            rank_shift=draw.uniform(0.0, 0.4),
            rank_gain=draw.normal(0.006, 0.006),
            batch_loss=draw.uniform(0.004, 0.02),
            epoch_gain=draw.uniform(0.0, 0.03),
            widths=(draw.uniform(0.8, 1.2), draw.uniform(0.5, 0.8)),
            edge=draw.uniform(0.8, 1.2),
        )

    def beside_optimum(self, rate: float, batch: int, rank: int, epochs: int) -> float:
        """Return the distance of a learning rate from the best of its batch, rank and epochs, in decades."""
        shift = self.batch_shift * math.log10(batch / 16) - self.rank_shift * math.log10(rank / 16)
        return math.log10(rate) - (self.centre + shift - 0.12 * (epochs - 2))

    def quality(self, away: float, batch: int, rank: int, epochs: int) -> float:
        """Return the quality at a distance from the best learning rate."""
        peak = 1 + self.rank_gain * math.log2(rank / 16) - self.batch_loss * abs(math.log2(batch / 16))
        width = self.widths[away > 0]
        return (peak - self.epoch_gain * (3 - epochs)) * math.exp(-0.25 * (away / width) ** 2)


@dataclass
class Run:
    """A trial under way: its row, final quality, that of its settings, speed of its curve, evaluations."""

    row: optuna.Trial
    quality: float
    settings: float
    speed: float
    steps: int = 0

    def dev(self, draw: np.random.Generator) -> float:
        """Return the next measurement on dev."""
        self.steps += 1
        reached = -math.expm1(-self.speed * self.steps / EVALUATIONS) / -math.expm1(-self.speed)
        return 0.25 + (self.quality - 0.25) * reached + draw.normal(0, DEV_NOISE)


def search(
    seed: int, sampler: SamplerName, noise: float, trials: int = TRIALS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Run a search.

    Args:
        seed: seed of surface, search and noise.
        sampler: how points are chosen.
        noise: standard deviation of a score on select, and on confirm.
        trials: number of trials.

    Returns:
        The scores on select and on confirm in the order of the trials' ends, -inf for those that were
        stopped; and the quality of each trial's settings.
    """
    draw = np.random.default_rng(seed)
    surface, study = Surface.drawn(draw), _study(seed, sampler)
    running: list[Run] = []
    qualities: list[float] = []
    settings: list[float] = []
    values: list[float] = []
    begun = 0
    while begun < trials or running:
        while begun < trials and len(running) < IN_FLIGHT:
            running.append(_begin(study, surface, draw))
            begun += 1
        run = running[draw.integers(len(running))]
        run.row.report(run.dev(draw), run.steps)
        if run.steps == EVALUATIONS:
            values.append(float(run.quality + draw.normal(0, noise)))
            study.tell(run.row, values[-1])
        elif run.row.should_prune():
            values.append(-math.inf)
            study.tell(run.row, state=optuna.trial.TrialState.PRUNED)
        else:
            continue
        qualities.append(run.quality)
        settings.append(run.settings)
        running.remove(run)
    fresh = np.array(qualities) + draw.normal(0, noise, trials)
    confirmed = np.where(np.isfinite(values), fresh, -math.inf)
    return np.array(values), confirmed, np.array(settings)


def search_figures(cell: SearchCell, number: int) -> dict[str, float]:
    """Run a search, and tell how often further trials change the published file, beside the prediction.

    Looks at the search after `TRIED` trials and `FURTHER` more. Predictions are sorted into five bins of
    equal width.

    Args:
        cell: kind of search.
        number: number of the search.

    Returns:
        For each bin that has any: the sum of predictions (`predicted 0`), of changes of the best on select
        (`by select 0`) and of the best of five by select and confirm together (`by confirm 0`), and their
        number (`count 0`).
    """
    sampler, noise = SamplerName(cell.sampler), SELECT_NOISE[cell.examples]
    values, fresh, settings = search(_UNSEEN + number, sampler, noise)
    draw = np.random.default_rng([_UNSEEN, number])
    found = {f"{name} {place}": 0.0 for name in COUNTED for place in range(BINS)}
    for tried, more in ((tried, more) for tried in TRIED for more in FURTHER if tried + more <= len(values)):
        chance = chance_of_change(tried=tried, further=more, sampler=sampler)
        place = min(BINS - 1, int(chance * BINS))
        ends = (tried, tried + more)
        by_select = [int(np.argmax(values[:end])) for end in ends]
        again = _retrained(values[:tried], settings[:tried], noise, draw) if cell.retrained else _NOTHING
        by_both = [_published(values[:end], fresh[:end], again) for end in ends]
        counts = (chance, by_select[0] != by_select[1], by_both[0] != by_both[1], 1)
        for name, count in zip(COUNTED, counts, strict=True):
            found[f"{name} {place}"] += float(count)
    return found


def _published(values: NDArray[np.float64], fresh: NDArray[np.float64], again: NDArray[np.float64]) -> int:
    """Return which has the best mean of both scores among the five best by the first.

    Args:
        values: scores of the trials on select.
        fresh: their scores on confirm.
        again: both scores of trainings on new seeds, [2, K]; they are counted before the trials.
    """
    both = np.concatenate([again, np.stack([values, fresh])], axis=1)
    five = np.argsort(-both[0], kind="stable")[:MOST]
    return int(five[both[:, five].sum(axis=0).argmax()])


def _retrained(
    values: NDArray[np.float64], settings: NDArray[np.float64], noise: float, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Return the scores on select and on confirm of the best three settings on five new seeds, [2, 15]."""
    best = np.argsort(-values, kind="stable")[:3]
    qualities = np.repeat(settings[best], 5) * (1 + draw.normal(0, SEED_NOISE, 15))
    return qualities + draw.normal(0, noise, (2, 15))


def _study(seed: int, sampler: SamplerName) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = {SamplerName.TPE: optuna.samplers.TPESampler, SamplerName.RANDOM: optuna.samplers.RandomSampler}
    return optuna.create_study(
        direction="maximize",
        sampler=made[sampler](seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )


def _begin(study: optuna.Study, surface: Surface, draw: np.random.Generator) -> Run:
    row = study.ask()
    rate = row.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    batch, rank = (row.suggest_categorical(name, [8, 16, 32, 64]) for name in ("batch_size", "rank"))
    epochs = row.suggest_int("epochs", 1, 3)
    away = surface.beside_optimum(rate, batch, rank, epochs)
    settings = surface.quality(away, batch, rank, epochs)
    quality = settings * (1 + draw.normal(0, SEED_NOISE))
    if away + draw.normal(0, 0.08) > surface.edge:  # diverges
        quality = draw.uniform(0, 0.15)
    return Run(row, quality, settings, speed=min(6.0, max(0.7, 2.2 + 1.8 * away + 0.6 * math.log(epochs))))
