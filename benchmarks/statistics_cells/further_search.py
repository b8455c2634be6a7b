"""Replayed searches: how often further trials change the best, beside the predicted chance.

A study searches a surface of learning rate, batch size, rank and epochs like that of LoRA fine-tuning, drawn
anew for each study, with four trials in flight, a median pruner, and noise of seed and select examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray

from loratory.reports.statistics.further_search import chance_of_change
from loratory.spaces.samplers import SamplerName

TRIALS, EVALUATIONS, IN_FLIGHT = 96, 4, 4
TRIED, FURTHER = (8, 12, 16, 24, 32, 48), (4, 8, 16, 32)
SEED_NOISE, DEV_NOISE = 0.02, 0.048
SELECT_NOISE = {500: 0.018, 150: 0.032}
"""Standard deviation of a score by the number of select examples; the best settings score about 1."""


class Bin(NamedTuple):
    """Studies whose predicted chance is alike: mean prediction, observed share, their number."""

    predicted: float
    observed: float
    count: int


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
    """A trial under way: its row, final quality, speed of its curve, evaluations so far."""

    row: optuna.Trial
    quality: float
    speed: float
    steps: int = 0

    def dev(self, draw: np.random.Generator) -> float:
        """Return the next measurement on dev."""
        self.steps += 1
        reached = -math.expm1(-self.speed * self.steps / EVALUATIONS) / -math.expm1(-self.speed)
        return 0.25 + (self.quality - 0.25) * reached + draw.normal(0, DEV_NOISE)


def search(seed: int, sampler: SamplerName, noise: float, trials: int = TRIALS) -> list[float]:
    """Run a search; return the values in the order of their ends, -inf for those that were stopped."""
    draw, values, running = np.random.default_rng(seed), [], []  # type: ignore[var-annotated]
    surface, study = Surface.drawn(draw), _study(seed, sampler)
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
        running.remove(run)
    return values


def bins(searches: Sequence[Sequence[float]], sampler: SamplerName) -> list[Bin]:
    """Return five bins of predicted chances with the observed shares, the lowest first."""
    pairs: NDArray[Any] = np.array(
        [
            (chance_of_change(tried=tried, further=more, sampler=sampler), _changes(values, tried, more))
            for values in searches
            for tried in TRIED
            for more in FURTHER
            if tried + more <= len(values)
        ]
    )
    place = np.minimum((pairs[:, 0] * 5).astype(int), 4)
    return [
        Bin(*pairs[place == index].mean(axis=0).tolist(), int((place == index).sum()))
        for index in range(5)
        if (place == index).any()
    ]


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
    quality = surface.quality(away, batch, rank, epochs) * (1 + draw.normal(0, SEED_NOISE))
    if away + draw.normal(0, 0.08) > surface.edge:  # diverges
        quality = draw.uniform(0, 0.15)
    return Run(row, quality, speed=min(6.0, max(0.7, 2.2 + 1.8 * away + 0.6 * math.log(epochs))))


def _changes(values: Sequence[float], tried: int, more: int) -> bool:
    return max(values[tried : tried + more]) > max(values[:tried])
