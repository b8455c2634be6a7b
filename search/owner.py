"""`StudyOwner`: ask, report, tell. The only writer of the Optuna storage; no Ray in it."""

import math
from collections import deque

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from loratory.objectives.events import Failed, Finished, Progressed, Reported, Start, Started, Stop
from loratory.objectives.records import FailureKind, TrialError, TrialRecord, TrialState
from loratory.reports.ranking import order
from loratory.search.failure_watch import FailureWatch
from loratory.search.ledger import TrialLedger
from loratory.search.optuna_rows import mark_infeasible, suggest, tell_row
from loratory.search.samplers import build_sampler, trial_limit
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import resolve_trial


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
        self._watch = FailureWatch()
        self._limit = trial_limit(study)

    @property
    def records(self) -> dict[int, TrialRecord]:
        """Every trial's record by number."""
        return self._ledger.records

    @property
    def stop_reason(self) -> str | None:
        """Why no trial should be started any more, beside having had enough of them."""
        return self._watch.verdict

    def wait(self, number: int) -> None:
        """Put a trial that has a RUNNING row, but no worker, in line."""
        self._waiting.append(number)

    def has_work(self, *, new: bool) -> bool:
        """Whether `ask` would return an attempt.

        Args:
            new: whether a trial may be started that has no row yet.
        """
        if self.stop_reason is not None:
            return False
        return bool(self._waiting) or (new and self._counted() < self._limit)

    def ask(self, *, new: bool) -> Start | None:
        """The next attempt to run, or none while enough trials are finished or under way.

        Args:
            new: whether a trial may be started that has no row yet.
        """
        if not self.has_work(new=new):
            return None
        if self._waiting:
            return self._begin(self._waiting.popleft())
        # The number is not known before the ask; Optuna numbers rows from 0 without gaps.
        self._rows.sampler = build_sampler(self._study, len(self._rows.get_trials(deepcopy=False)))
        return self._begin(self._rows.ask().number)

    def started(self, event: Started) -> None:
        """A worker has taken the trial."""
        self._ledger.started(event)

    def progressed(self, event: Progressed) -> None:
        """Optimiser steps were made."""
        self._ledger.progressed(event)

    def reported(self, event: Reported) -> Stop | None:
        """Store an evaluation; the answer is a `Stop` where the pruner says so."""
        value = event.measurement.metrics[self._study.metric]
        trial = self._trial(event.number)
        step = event.measurement.step
        # Not Trial.report: it ignores a step that a dead attempt has reported.
        self._rows._storage.set_trial_intermediate_value(trial._trial_id, step, value)
        self._ledger.reported(event)
        if step >= self._study.evaluation.evaluations or not self._trial(event.number).should_prune():
            return None
        name = self._study.pruner.name
        reason = f"{name} pruner: {self._study.metric} {value:.4g} at evaluation {step}"
        self._ledger.prune(event.number, reason)
        self._tell(event.number, OptunaState.PRUNED)
        self._watch.succeeded()
        return Stop(number=event.number, attempt=event.attempt, reason=reason)

    def finished(self, event: Finished) -> None:
        """Store a trained and scored trial."""
        value = event.scores.aggregate[self._study.metric]
        if not math.isfinite(value):
            message = f"{self._study.metric} on eval.select must be finite, is {value}"
            self.failed(
                Failed(number=event.number, attempt=event.attempt, kind=FailureKind.DIVERGED, message=message)
            )
            return
        self._ledger.complete(event, value=value)
        self._tell(event.number, OptunaState.COMPLETE, value)
        self._watch.succeeded()

    def failed(self, event: Failed) -> None:
        """Store a failed attempt; what it means depends on its kind."""
        error = TrialError(
            attempt=event.attempt, kind=event.kind, message=event.message, traceback=event.traceback
        )
        if event.kind is FailureKind.DIVERGED:
            self._ledger.prune(event.number, f"diverged: {event.message}", error)
            self._tell(event.number, OptunaState.PRUNED)
        elif event.kind is FailureKind.OOM:
            self._ledger.infeasible(event.number, error)
            mark_infeasible(self._trial(event.number), event.message)
            self._tell(event.number, OptunaState.PRUNED)
        else:
            record = self._ledger.attempt_failed(event.number, error)
            if len(record.failures) < self._study.attempts:
                self._waiting.append(event.number)
            else:
                self._ledger.fail(event.number)
                self._tell(event.number, OptunaState.FAIL)
        self._watch.failed(event)

    def best(self) -> TrialRecord | None:
        """The COMPLETE trial with the best value; the first of equals."""
        ranked = order(list(self.records.values()), self._study.metric_direction)
        return ranked[0] if ranked else None

    def is_current(self, number: int, attempt: int) -> bool:
        """Whether an event belongs to the attempt under way, not to one that was stopped or replaced."""
        record = self.records.get(number)
        return record is not None and record.state is TrialState.RUNNING and record.attempt == attempt

    def _begin(self, number: int) -> Start:
        known = self.records.get(number)
        trial = resolve_trial(
            self._study,
            number=number,
            attempt=known.attempt + 1 if known else 1,
            sampled=suggest(self._trial(number), self._study.space.distributions()),
        )
        return self._ledger.begin(trial)

    def _counted(self) -> int:
        return sum(record.state is not TrialState.INFEASIBLE for record in self.records.values())

    def _trial(self, number: int) -> Trial:
        return Trial(self._rows, self._rows.get_trials(deepcopy=False)[number]._trial_id)

    def _tell(self, number: int, state: OptunaState, value: float | None = None) -> None:
        tell_row(self._rows, number, state, value)
