"""`StudyOwner`: ask, report, tell. The only writer of the Optuna storage; no Ray in it."""

import math
from collections import deque

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Reported, Start, Started, Stop
from loratory.objectives.records import FailureKind, TrialError, TrialRecord, TrialState
from loratory.reports.ranking import order
from loratory.search.failure_watch import FailureWatch
from loratory.search.ledger import TrialLedger
from loratory.search.optuna_rows import (
    mark_infeasible,
    open_trial,
    set_intermediate_value,
    should_prune,
    suggest,
    tell_row,
)
from loratory.search.samplers import build_sampler, grid_size, trial_limit
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import resolve_trial, trial_key

_LOST_BEFORE_ALONE = 2


class StudyOwner:
    """Decides what runs next and what each event means.

    The record is written before Optuna is told: a crash in between leaves a final record with a RUNNING
    row, which `reconcile` tells on the next start. The other order could lose an adapter.
    """

    def __init__(self, study: StudySpec, *, rows: optuna.Study, ledger: TrialLedger) -> None:
        self._study = study
        self._rows = rows
        self._ledger = ledger
        self._waiting: deque[int] = deque()
        self._waiting_alone: deque[int] = deque()
        self._trials: dict[int, Trial] = {}
        self._watch = FailureWatch(any_success=any(map(_is_success, ledger.records.values())))
        self._points = grid_size(study)
        self._limit = trial_limit(study)

    @property
    def records(self) -> dict[str, TrialRecord]:
        """Every trial's record by key."""
        return self._ledger.records

    @property
    def study(self) -> StudySpec:
        """What is run."""
        return self._study

    def left(self, *, new: bool) -> int:
        """How many trials are not finished, or not begun, as far as is known now.

        Args:
            new: whether trials may be started that have no row yet.
        """
        begun = sum(not record.state.finished for record in self.records.values())
        return begun + (self._startable() if new else 0)

    @property
    def stop_reason(self) -> str | None:
        """Why no trial should be started any more, beside having had enough of them."""
        return self._watch.verdict

    def wait(self, number: int) -> None:
        """Put a trial that has a RUNNING row, but no worker, in line."""
        alone = self.runs_alone(trial_key(number))
        (self._waiting_alone if alone else self._waiting).append(number)

    def runs_alone(self, key: str) -> bool:
        """Whether a trial has lost so many workers that it may be what breaks them, so must not be packed."""
        record = self.records.get(key)
        lost = [f for f in record.failures if f.kind is FailureKind.WORKER_LOST] if record else []
        return len(lost) >= _LOST_BEFORE_ALONE

    def has_work(self, *, new: bool) -> bool:
        """Whether `ask` would return an attempt, at least to a worker without trials.

        Args:
            new: whether a trial may be started that has no row yet.
        """
        if self.stop_reason is not None:
            return False
        return bool(self._waiting or self._waiting_alone) or (new and self._startable() > 0)

    def ask(self, *, new: bool, worker: Ready | None = None, empty: bool = True) -> Start | None:
        """The next attempt to run, or none while enough trials are finished or under way.

        Args:
            new: whether a trial may be started that has no row yet.
            worker: what it will run on, as far as that is known.
            empty: whether the worker has no other trial, so may take one that runs alone.
        """
        if self.stop_reason is not None:
            return None
        if self._waiting:
            return self._begin(self._waiting.popleft(), worker)
        if new and self._startable() > 0:
            return self._begin(self._new_row(), worker)
        # Last: it leaves the worker's other slots empty.
        if empty and self._waiting_alone:
            return self._begin(self._waiting_alone.popleft(), worker)
        return None

    def started(self, event: Started) -> None:
        """A worker has taken the trial."""
        self._ledger.started(event)

    def progressed(self, event: Progressed) -> None:
        """Optimiser steps were made."""
        self._ledger.progressed(event)

    def reported(self, event: Reported) -> Stop | None:
        """Store an evaluation; the answer is a `Stop` where the pruner says so.

        The checkpoint comes last: after a crash the trial is measured and judged again, never skipped.
        """
        value = event.measurement.metrics[self._study.metric]
        trial, step = self._row(event.key), event.measurement.step
        self._ledger.measured(event)
        set_intermediate_value(trial, step, value)
        if not self._to_be_judged(event) or not should_prune(self._rows, trial):
            self._ledger.keep_checkpoint(event)
            return None
        name = self._study.pruner.name
        reason = f"{name} pruner: {self._study.metric} {value:.4g} at evaluation {step}"
        self._ledger.cut_curve(event.key)
        self._ledger.prune(event.key, reason)
        self._tell(event.key, OptunaState.PRUNED)
        self._watch.succeeded()
        return Stop(key=event.key, attempt=event.attempt, reason=reason)

    def finished(self, event: Finished) -> None:
        """Store a trained and scored trial."""
        endless = {name: value for name, value in event.scores.aggregate.items() if not math.isfinite(value)}
        if endless:
            message, kind = f"scores on eval.select must be finite, got {endless}", FailureKind.DIVERGED
            self.failed(Failed(key=event.key, attempt=event.attempt, kind=kind, message=message))
            return
        value = event.scores.aggregate[self._study.metric]
        self._ledger.complete(event, value=value)
        self._tell(event.key, OptunaState.COMPLETE, value)
        self._watch.succeeded()

    def failed(self, event: Failed) -> None:
        """Store a failed attempt; what it means depends on its kind."""
        error = TrialError(
            attempt=event.attempt, kind=event.kind, message=event.message, traceback=event.traceback
        )
        self._ledger.took(event.key, event.resources)
        if event.kind is FailureKind.DIVERGED:
            self._ledger.prune(event.key, f"diverged: {event.message}", error)
            self._tell(event.key, OptunaState.PRUNED)
        elif event.kind is FailureKind.OOM:
            self._ledger.infeasible(event.key, error)
            mark_infeasible(self._row(event.key), event.message)
            self._tell(event.key, OptunaState.PRUNED)
        else:
            record = self._ledger.attempt_failed(event.key, error, final=self._is_final(event))
            if record.state is TrialState.FAIL:
                self._tell(event.key, OptunaState.FAIL)
            else:
                self.wait(record.row)
        self._watch.failed(event)

    def best(self) -> TrialRecord | None:
        """The COMPLETE trial with the best value; the first of equals."""
        ranked = order(list(self.records.values()), self._study.metric_direction)
        return ranked[0] if ranked else None

    def is_current(self, key: str, attempt: int) -> bool:
        """Whether an event belongs to the attempt under way, not to one that was stopped or replaced."""
        record = self.records.get(key)
        return record is not None and record.state is TrialState.RUNNING and record.attempt == attempt

    def _to_be_judged(self, event: Reported) -> bool:
        """Whether to ask the pruner: not at the end, nor where an earlier attempt was judged and went on."""
        step = event.measurement.step
        reached = max(measurement.step for measurement in self.records[event.key].measurements)
        return step == reached and step < self._study.evaluation.evaluations

    def _is_final(self, event: Failed) -> bool:
        """Whether the trial has failed often enough. A worker lost with others proves nothing about it."""
        earlier = self.records[event.key].failures
        if event.kind is not FailureKind.WORKER_LOST:
            earlier = [failure for failure in earlier if failure.kind is not FailureKind.WORKER_LOST]
        return event.neighbours == 0 and len(earlier) + 1 >= self._study.attempts

    def _startable(self) -> int:
        """How many trials without a row may be started; more may follow where some turn out infeasible."""
        wanted = self._limit - self._counted()
        untried = wanted if self._points is None else self._points - len(self.records)
        return max(0, min(wanted, untried))

    def _new_row(self) -> int:
        # The number is not known before the ask; Optuna numbers rows from 0 without gaps.
        self._rows.sampler = build_sampler(self._study, len(self._rows.get_trials(deepcopy=False)))
        trial = self._rows.ask()
        self._trials[trial.number] = trial
        return trial.number

    def _begin(self, number: int, worker: Ready | None) -> Start:
        known = self.records.get(trial_key(number))
        trial = resolve_trial(
            self._study,
            number=number,
            attempt=known.attempt + 1 if known else 1,
            sampled=suggest(self._trial(number), self._study.space.distributions()),
        )
        return self._ledger.begin(trial, worker)

    def _counted(self) -> int:
        return sum(record.state is not TrialState.INFEASIBLE for record in self.records.values())

    def _trial(self, number: int) -> Trial:
        """A row as Optuna's object; made once, since making it asks the sampler anew."""
        if number not in self._trials:
            self._rows.sampler = build_sampler(self._study, number)
            self._trials[number] = open_trial(self._rows, number)
        return self._trials[number]

    def _row(self, key: str) -> Trial:
        return self._trial(self.records[key].row)

    def _tell(self, key: str, state: OptunaState, value: float | None = None) -> None:
        number = self.records[key].row
        tell_row(self._rows, number, state, value)
        self._trials.pop(number, None)


def _is_success(record: TrialRecord) -> bool:
    """Whether a trial was trained and judged: by its score, or by the pruner."""
    return record.state is TrialState.COMPLETE or (record.state is TrialState.PRUNED and record.error is None)
