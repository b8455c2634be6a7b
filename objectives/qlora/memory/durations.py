"""Durations of a study on a GPU: seconds per trial, hours in all."""

from dataclasses import dataclass

from loratory.objectives.qlora.memory.devices import Gpu
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import ModelFacts, Workload
from loratory.objectives.qlora.memory.pace import (
    DeviceRates,
    decoding_seconds,
    seconds_per_read_token,
    training_seconds,
)

_SECONDS_TO_START = 60.0
"""Imports, the base from the disk, its checks and the first graphs: 45 to 100 s at 7B and 8B on one H100."""
_BESIDES = 1.2
"""Copies and reports of adapters and idle time: a fifth of a whole study at 1B (docs/performance.md)."""


@dataclass(frozen=True, kw_only=True)
class StudyDurations:
    """Predicted durations if no trial is pruned or stopped early.

    Attributes:
        training_seconds: of one GPU, all trials.
        scoring_seconds: of one GPU, all trials: losses and decoded answers.
        starting_seconds: of each GPU, before its first trial.
        trials: number of trials.
        at_once: trials that share the GPU.
    """

    training_seconds: float
    scoring_seconds: float
    starting_seconds: float
    trials: int
    at_once: int

    @property
    def seconds_per_trial(self) -> float:
        """A trial's share of a GPU's time; with others beside it, a trial lasts `at_once` times as long."""
        return (self.training_seconds + self.scoring_seconds) / self.trials

    def of_trial(self, share: float) -> float:
        """Return the seconds of a trial that trains `share` times as many tokens as the average one."""
        return (share * self.training_seconds + self.scoring_seconds) / self.trials

    def gpu_seconds(self, gpus: int) -> float:
        """Return the sum of the time of all GPUs."""
        return self.training_seconds + self.scoring_seconds + gpus * self.starting_seconds

    def seconds(self, gpus: int) -> float:
        """Return the time from start to end; GPUs beyond the number of trials are idle."""
        at_work = min(gpus, self.trials)
        return (self.training_seconds + self.scoring_seconds) / at_work + self.starting_seconds


def rates_of(gpu: Gpu) -> DeviceRates:
    """Return the rates of a GPU."""
    return DeviceRates(
        flops_per_second=gpu.half_flops_per_second, bytes_per_second=gpu.bandwidth_bytes_per_second
    )


def study_durations(
    facts: ModelFacts, workload: Workload, size: EngineSize, gpu: Gpu, *, scored_examples: int
) -> StudyDurations:
    """Predict the durations of a study's trials in an arrangement.

    Args:
        facts: of the base.
        workload: of the study.
        size: the arrangement.
        gpu: the GPU.
        scored_examples: examples per trial whose loss is computed, in all its evaluations together.
    """
    rates = rates_of(gpu)
    read = workload.trials * scored_examples * workload.mean_tokens
    losses = read * seconds_per_read_token(facts, rates, length=workload.mean_tokens)
    return StudyDurations(
        training_seconds=_BESIDES * training_seconds(facts, workload, size, rates),
        scoring_seconds=_BESIDES * (losses + decoding_seconds(facts, workload, size, rates)),
        starting_seconds=_SECONDS_TO_START,
        trials=workload.trials,
        at_once=size.slots,
    )
