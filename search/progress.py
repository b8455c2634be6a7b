"""The progress of a study, computed from its events; every display draws it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from loratory.objectives.events import Failed, Progressed, Reported, Started, TrialEvent
from loratory.objectives.records import TrialRecord, TrialState
from loratory.search.samplers import grid_size, trial_limit
from loratory.spaces.metric_names import Direction
from loratory.spaces.study import StudySpec


@dataclass
class RunningTrial:
    """One running trial.

    Attributes:
        shown: what a person calls it.
        params: its sampled values.
        total: optimiser steps of its whole schedule.
        done: optimiser steps so far.
        done_before: those of earlier runs and attempts.
        loss: training loss at the last step.
        step: evaluations so far.
        value: the study's metric at the last evaluation.
    """

    shown: str
    params: Mapping[str, object]
    total: int = 0
    done: int = 0
    done_before: int = 0
    loss: float | None = None
    step: int = 0
    value: float | None = None

    @property
    def done_here(self) -> int:
        """Optimiser steps of this attempt."""
        return self.done - self.done_before


@dataclass
class StudyProgress:
    """A watcher of events that keeps the state of the study for displays; it draws nothing."""

    study: StudySpec
    limit: int
    states: Counter[TrialState] = field(default_factory=Counter)
    running: dict[str, RunningTrial] = field(default_factory=dict)
    best: TrialRecord | None = None
    finished_here: int = 0
    started_at: float = field(default_factory=time.monotonic)
    planned_seconds: Callable[[], float | None] = lambda: None
    retrainings: Callable[[], int] = lambda: 0
    retrained: int = 0

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Update from one event."""
        if record.state.finished:
            return
        if isinstance(event, Started):
            last = record.measurements[-1] if record.measurements else None
            done = last.optimizer_steps if last else 0
            self.running[event.key] = RunningTrial(
                record.shown, record.params, total=event.optimizer_steps, done=done, done_before=done
            )
        if isinstance(event, Failed):
            self.running.pop(event.key, None)
        trial = self.running.get(event.key)
        if trial is None:
            return
        if isinstance(event, Progressed):
            trial.done, trial.loss = event.points[-1].optimizer_step, event.points[-1].loss
        if isinstance(event, Reported):
            # A trial trains while it is scored, so the evaluation may be older than the last progress.
            trial.done = max(trial.done, event.measurement.optimizer_steps)
            trial.step = event.measurement.step
            trial.value = event.measurement.metrics[self.study.metric]

    def finished(self, record: TrialRecord) -> None:
        """Update from a final record."""
        self.running.pop(record.key, None)
        self.finished_here += not record.never_started
        self.count(record)

    def count(self, record: TrialRecord) -> None:
        """Count a final record of this run or an earlier one; trainings on new seeds are counted apart."""
        if record.retrained:
            self.retrained += 1
            return
        self.states[record.state] += 1
        if grid_size(self.study) is not None:
            self.limit = trial_limit(self.study, infeasible=self.states[TrialState.INFEASIBLE])
        if record.values and self._better(record.values[0]):
            self.best = record

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002 (a watcher's signature)
        """Do nothing: this watcher holds no resources."""
        return []

    @property
    def done(self) -> int:
        """Number of finished trials that count towards the limit."""
        return sum(count for state, count in self.states.copy().items() if state is not TrialState.INFEASIBLE)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the limit, retraining included.

        At the pace of this run, and before that is known by the plan: what has been done of a first trial
        weighs one against the other. None without a plan before the first trial ends.
        """
        elapsed = time.monotonic() - self.started_at
        left = max(0, self.limit - self.done) + max(0, self.retrainings() - self.retrained)
        planned = self.planned_seconds()
        if planned is None:
            return elapsed / self.finished_here * left if self.finished_here else None
        begun = sum(trial.done_here / max(1, trial.total) for trial in self.running.copy().values())
        worked = self.finished_here + begun
        by_plan = max(0.0, planned * (left + self.finished_here) / self.limit - elapsed)
        if not worked:
            return by_plan
        weight = min(1.0, worked)
        return weight * elapsed / worked * max(0.0, left - begun) + (1 - weight) * by_plan

    def _better(self, value: float) -> bool:
        if self.best is None or self.best.values is None:
            return True
        sign = 1 if self.study.metric_direction is Direction.MAXIMIZE else -1
        return sign * value > sign * self.best.values[0]


def short(params: Mapping[str, object]) -> str:
    """Format parameters in one line: `learning_rate 0.00021 rank 8`."""
    return " ".join(f"{name} {_short_value(value)}" for name, value in params.items())


def _short_value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def clock(seconds: float | None) -> str:
    """Format seconds as `h:mm:ss` or `m:ss`; dashes for None."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
