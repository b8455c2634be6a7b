"""The schedule of a trial: batches, learning rates and evaluations by step. Imports no torch."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loratory.spaces.training import Schedule, TrainingParameters

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
        """Number of updates in which the learning rate rises; at least the last update has the peak rate."""
        return min(round(self.training.warmup * self.optimizer_steps), self.optimizer_steps - 1)

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

        A linear warm-up comes first. It starts one increment above zero, since an update with a rate of zero
        is lost, and leaves at least the last step at the peak rate. Then the schedule follows, which would
        reach zero one step after the last.

        Args:
            step: from 0.
        """
        warmup = self.warmup_steps
        if step < warmup:
            return self.training.learning_rate * (step + 1) / (warmup + 1)
        progress = (step - warmup) / (self.optimizer_steps - warmup)
        return self.training.learning_rate * _decay(self.training.schedule, progress)

    def evaluations_due(self, steps_made: int) -> int:
        """Return how many points of the nominal grid are reached after `steps_made` updates.

        Point i of E lies at update ceil(i * T / E) of T. If T < E, several points lie at one update: they
        share one measurement, and each is reported.
        """
        return steps_made * self.evaluations // self.optimizer_steps

    def _example(self, position: int) -> int:
        epoch, place = divmod(position, self.train_examples)
        return int(_order(self.seed, epoch, self.train_examples)[place])


def _decay(schedule: Schedule, progress: float) -> float:
    match schedule:
        case Schedule.COSINE:
            return (1.0 + math.cos(math.pi * progress)) / 2.0
        case Schedule.LINEAR:
            return 1.0 - progress
        case Schedule.CONSTANT:
            return 1.0


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
