"""Durations of a study on a GPU: seconds per trial, hours in all."""

from dataclasses import dataclass, replace

from loratory.objectives.qlora.memory.afterwards import PlannedAfterwards
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
        retrainings: trainings on new seeds after the search, each as long as an average trial.
        closing_seconds: of one GPU, scorings of single models outside trials.
        closings: number of these scorings; a worker makes one at a time.
    """

    training_seconds: float
    scoring_seconds: float
    starting_seconds: float
    trials: int
    at_once: int
    retrainings: int = 0
    closing_seconds: float = 0.0
    closings: int = 1

    @property
    def seconds_per_trial(self) -> float:
        """A trial's share of a GPU's time; with others beside it, a trial lasts `at_once` times as long."""
        return (self.training_seconds + self.scoring_seconds) / self.trials

    @property
    def retraining_seconds(self) -> float:
        """Seconds of one GPU for all trainings on new seeds."""
        return self.retrainings * self.seconds_per_trial

    def of_trial(self, share: float) -> float:
        """Return the seconds of a trial that trains `share` times as many tokens as the average one."""
        return (share * self.training_seconds + self.scoring_seconds) / self.trials

    def gpu_seconds(self, gpus: int) -> float:
        """Return the sum of the time of all GPUs."""
        of_trials = self.training_seconds + self.scoring_seconds
        return of_trials + self.retraining_seconds + self.closing_seconds + gpus * self.starting_seconds

    def seconds(self, gpus: int) -> float:
        """Return the time from start to end, with what follows the search."""
        again = self.retraining_seconds / min(gpus, max(1, self.retrainings))
        return self.search_seconds(gpus) + again + self.closing_seconds / min(gpus, self.closings)

    def search_seconds(self, gpus: int) -> float:
        """Return the time from start to the end of the search; GPUs beyond the number of trials are idle."""
        at_work = min(gpus, self.trials)
        return (self.training_seconds + self.scoring_seconds) / at_work + self.starting_seconds


def rates_of(gpu: Gpu) -> DeviceRates:
    """Return the rates of a GPU."""
    return DeviceRates(
        flops_per_second=gpu.half_flops_per_second, bytes_per_second=gpu.bandwidth_bytes_per_second
    )


def study_durations(
    facts: ModelFacts,
    workload: Workload,
    size: EngineSize,
    gpu: Gpu,
    *,
    scored_examples: int,
    after: PlannedAfterwards | None = None,
) -> StudyDurations:
    """Predict the durations of a study in an arrangement.

    Args:
        facts: of the base.
        workload: of the study.
        size: the arrangement.
        gpu: the GPU.
        scored_examples: examples per trial whose loss is computed, in all its evaluations together.
        after: work besides the trials; None: none.
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
        retrainings=after.retrainings if after else 0,
        closing_seconds=_BESIDES * _closing_seconds(facts, workload, size, rates, after) if after else 0.0,
        closings=len(after.scored) if after else 1,
    )


def _closing_seconds(
    facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates, after: PlannedAfterwards
) -> float:
    """Return the seconds of one GPU that scores one model after the other."""
    alone = replace(
        workload,
        trials=1,
        prompts=max(after.scored),
        decoded_prompts=after.scored_examples if workload.decoded_prompts else 0,
    )
    read = after.scored_examples * workload.mean_tokens
    losses = read * seconds_per_read_token(facts, rates, length=workload.mean_tokens)
    return losses + decoding_seconds(facts, alone, replace(size, slots=1), rates)
