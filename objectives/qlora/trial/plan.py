"""What a trial will do, step by step: batches, learning rates and evaluations. Imports no torch."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loratory.spaces.training import Schedule, TrainingParameters

ORDER = "epoch e: numpy.random.default_rng([seed, e]).permutation(examples); epochs follow without a gap"
"""How the order of a trial's examples follows from its seed, e from 0; as records have it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The schedule of one trial, fixed before its first step.

    Attributes:
        training: the trial's hyperparameters.
        seed: seeds the order of the examples.
        train_examples: how many there are.
        evaluations: points on the nominal grid.
    """

    training: TrainingParameters
    seed: int
    train_examples: int
    evaluations: int

    @property
    def examples_in_all(self) -> int:
        """Examples that the trial sees, repeats counted: its epochs, to the nearest example."""
        return max(1, round(self.training.epochs * self.train_examples))

    @property
    def optimizer_steps(self) -> int:
        """Updates in all; the last batch is smaller where the examples do not divide."""
        return math.ceil(self.examples_in_all / self.training.batch_size)

    @property
    def warmup_steps(self) -> int:
        """Updates in which the learning rate rises; the last update at least has its peak."""
        return min(round(self.training.warmup * self.optimizer_steps), self.optimizer_steps - 1)

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of an optimiser step.

        Epochs follow each other without a gap, so that a batch may end one and begin the next.

        Args:
            step: from 0.
        """
        first = step * self.training.batch_size
        last = min(first + self.training.batch_size, self.examples_in_all)
        return [self._example(position) for position in range(first, last)]

    def learning_rate(self, step: int) -> float:
        """Learning rate of an optimiser step.

        A linear warm-up that starts one increment above zero (an update with a rate of zero is lost) and
        leaves at least the last step its peak, then the schedule, which would reach zero one step after
        the last.

        Args:
            step: from 0.
        """
        warmup = self.warmup_steps
        if step < warmup:
            return self.training.learning_rate * (step + 1) / (warmup + 1)
        progress = (step - warmup) / (self.optimizer_steps - warmup)
        return self.training.learning_rate * _decay(self.training.schedule, progress)

    def evaluations_due(self, steps_made: int) -> int:
        """How many points of the nominal grid are reached after so many updates.

        Point i of E stands at ceil(i * T / E) of T updates. Where T < E, several points stand at one
        update: they are measured once and reported each.
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
