"""The schedule of a trial: batches, learning rates and evaluations by step. Imports no torch."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.qlora.trial.schedule import rate_factor, warmup_updates
from loratory.spaces.training import TrainingParameters

ORDER = "epoch e: numpy.random.default_rng([seed, e]).permutation(examples); epochs follow without a gap"
"""Rule for the order of a trial's examples, with e counted from 0, as records state it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The schedule of one trial, fixed before its first step.

    Attributes:
        training: the trial's hyperparameters.
        seed: seeds the order of the examples.
        train_examples: number of training examples.
        evaluations: points on the nominal grid.
    """

    training: TrainingParameters
    seed: int
    train_examples: int
    evaluations: int

    @property
    def examples_in_all(self) -> int:
        """Number of examples that the trial sees, repeats counted: epochs, rounded to whole examples."""
        return max(1, round(self.training.epochs * self.train_examples))

    @property
    def optimizer_steps(self) -> int:
        """Number of updates; the last batch is smaller if the examples do not fill it."""
        return math.ceil(self.examples_in_all / self.training.batch_size)

    @property
    def warmup_steps(self) -> int:
        """Number of updates in which the learning rate rises."""
        training = self.training
        return warmup_updates(training.schedule, share=training.warmup, updates=self.optimizer_steps)

    def batch(self, step: int) -> list[int]:
        """Return the indices of the examples of an optimiser step.

        Epochs follow each other without a gap, so that a batch may end one and begin the next.

        Args:
            step: from 0.
        """
        first = step * self.training.batch_size
        last = min(first + self.training.batch_size, self.examples_in_all)
        return [self._example(position) for position in range(first, last)]

    def learning_rate(self, step: int) -> float:
        """Compute the learning rate of an optimiser step.

        Args:
            step: from 0.
        """
        factor = rate_factor(
            self.training.schedule, step, warmup=self.warmup_steps, updates=self.optimizer_steps
        )
        return self.training.learning_rate * factor

    def evaluations_due(self, steps_made: int) -> int:
        """Return how many points of the nominal grid are reached after `steps_made` updates.

        Point i of E lies at update ceil(i * T / E) of T. If T < E, several points lie at one update: they
        share one measurement, and each is reported.
        """
        return steps_made * self.evaluations // self.optimizer_steps

    def _example(self, position: int) -> int:
        epoch, place = divmod(position, self.train_examples)
        return int(_order(self.seed, epoch, self.train_examples)[place])


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
