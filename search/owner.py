"""`StudyOwner`: ask, report, tell. The only writer of the Optuna storage; no Ray in it."""

from collections import deque

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Reported, Start, Started, Stop
from loratory.objectives.records import FailureKind, TrialRecord, TrialState
from loratory.reports.formatting import size
from loratory.reports.ranking import order
from loratory.search import failure_rules
from loratory.search.failure_watch import FailureWatch
from loratory.search.feasible_sampler import FeasibleSampler
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
from loratory.search.trial_memory import Placement, Point, TrialMemory, Workforce
from loratory.spaces.errors import InputError
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import TrialSpec, derive_seed, resolve_trial, trial_key

_REDRAWS, _REDRAWS_OF_GP = 20, 1
"""Points drawn in place of one that fits no worker, before the last of them is changed until it fits.

GP does not learn from PRUNED rows: it asks for nearly the same point again, and each takes it a second.
"""


class StudyOwner:
    """Decides which trial runs next, and handles the events of trials.

    A record is written before Optuna is told. A crash in between leaves a final record with a RUNNING row,
    which `reconcile` finishes on the next start. The other order could lose an adapter.

    Args:
        study: the study.
        rows: its rows in the Optuna storage.
        ledger: its records and files.
        memory: prediction of what a trial takes; None: every point fits every worker.
    """

    def __init__(
        self,
        study: StudySpec,
        *,
        rows: optuna.Study,
        ledger: TrialLedger,
        memory: TrialMemory | None = None,
    ) -> None:
        self._study = study
        self._rows = rows
        self._ledger = ledger
        self._memory = memory or TrialMemory(study)
        self._workforce = Workforce()
        self._rejected: list[TrialRecord] = []
        self._waiting: deque[int] = deque()
        self._waiting_alone: deque[int] = deque()
        self._trials: dict[int, Trial] = {}
        self._drawn: dict[int, Point] = {}
        self._watch = FailureWatch(any_success=any(map(_is_success, ledger.records.values())))
        self._points = grid_size(study)
        self._limit = trial_limit(study)

    @property
    def records(self) -> dict[str, TrialRecord]:
        """Every trial's record by key."""
        return self._ledger.records

    @property
    def study(self) -> StudySpec:
        """The study."""
        return self._study

    def left(self, *, new: bool) -> int:
        """Return the current number of trials that are unfinished or may still be started.

        Args:
            new: whether trials without a row may be started.
        """
        begun = sum(not record.state.finished for record in self.records.values())
        return begun + self._held() + (self._startable() if new else 0)

    @property
    def stop_reason(self) -> str | None:
        """The failure because of which no further trial is started; None if there is none."""
        return self._watch.verdict

    def wait(self, number: int) -> None:
        """Put a trial that has a RUNNING row, but no worker, in line."""
        alone = self.runs_alone(trial_key(number))
        (self._waiting_alone if alone else self._waiting).append(number)

    def runs_alone(self, key: str) -> bool:
        """Return whether a trial has lost so many workers that it may be what breaks them: it runs alone."""
        return failure_rules.runs_alone(self.records.get(key))

    def know(self, workforce: Workforce) -> None:
        """Note which workers there are.

        Raises:
            InputError: no trial of the space fits any of them, and new ones are wanted.
        """
        self._workforce = workforce
        if self._startable() > 0:
            self._check_space()

    def take_rejected(self) -> list[TrialRecord]:
        """Return the trials found infeasible since the last call, which no worker was given."""
        rejected, self._rejected = self._rejected, []
        return rejected

    def stuck(self) -> list[str]:
        """Return the numbers of the trials that have begun, and can go on with no worker that is there."""
        return [str(number) for number in self._in_line() if self._is_stuck(number)]

    def has_work(self, *, new: bool) -> bool:
        """Return whether `ask` would return an attempt to a worker without trials, now or later.

        Args:
            new: whether a trial without a row may be started.
        """
        if self.stop_reason is not None:
            return False
        return not all(map(self._is_stuck, self._in_line())) or (new and self._startable() > 0)

    def ask(self, *, new: bool, worker: Ready | None = None, empty: bool = True) -> Start | None:
        """Return the next attempt to run; None while enough trials are finished or running.

        None also where nothing in line fits the worker, and what is drawn for it fits others only.

        Args:
            new: whether a trial without a row may be started.
            worker: its worker, if known.
            empty: whether the worker has no other trial and may take one that must run alone.

        Raises:
            InputError: no trial of the space fits any worker.
        """
        if self.stop_reason is not None:
            return None
        number = self._next_in(self._waiting, worker)
        if number is None and new:
            number = self._draw(worker)
        if number is None and empty:
            # Comes last, because it leaves the other slots of the worker empty.
            number = self._next_in(self._waiting_alone, worker)
        return None if number is None else self._begin(number, worker)

    def started(self, event: Started) -> None:
        """Store that a worker has started the trial."""
        self._ledger.started(event)

    def progressed(self, event: Progressed) -> None:
        """Store optimiser steps."""
        self._ledger.progressed(event)

    def reported(self, event: Reported) -> Stop | None:
        """Store an evaluation, and return a `Stop` if the pruner decides so.

        The checkpoint is written last, so that after a crash the trial is measured and judged again.
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
        if (failure := failure_rules.not_finite(event)) is not None:
            self.failed(failure)
            return
        value = event.scores.aggregate[self._study.metric]
        self._ledger.complete(event, value=value)
        self._tell(event.key, OptunaState.COMPLETE, value)
        self._watch.succeeded()

    def failed(self, event: Failed) -> None:
        """Store a failed attempt; its kind decides the state of the trial."""
        error = failure_rules.error_of(event)
        self._ledger.took(event.key, event.resources)
        if event.kind is FailureKind.DIVERGED:
            self._ledger.prune(event.key, f"diverged: {event.message}", error)
            self._tell(event.key, OptunaState.PRUNED)
        elif event.kind is FailureKind.OOM:
            self._ledger.infeasible(event.key, error)
            mark_infeasible(self._row(event.key), event.message)
            self._tell(event.key, OptunaState.PRUNED)
        else:
            final = failure_rules.is_final(event, self.records[event.key], self._study.attempts)
            record = self._ledger.attempt_failed(event.key, error, final=final)
            if record.state is TrialState.FAIL:
                self._tell(event.key, OptunaState.FAIL)
            else:
                self.wait(record.row)
        self._watch.failed(event)

    def best(self) -> TrialRecord | None:
        """Return the COMPLETE trial with the best value; of equal values, the first."""
        ranked = order(list(self.records.values()), self._study.metric_direction)
        return ranked[0] if ranked else None

    def is_current(self, key: str, attempt: int) -> bool:
        """Return whether an event belongs to the current attempt, not to one that was stopped or replaced."""
        record = self.records.get(key)
        return record is not None and record.state is TrialState.RUNNING and record.attempt == attempt

    def _to_be_judged(self, event: Reported) -> bool:
        """Return whether to ask the pruner: not at the last evaluation, nor again in a later attempt."""
        step = event.measurement.step
        reached = max(measurement.step for measurement in self.records[event.key].measurements)
        return step == reached and step < self._study.evaluation.evaluations

    def _in_line(self) -> list[int]:
        return [*self._waiting, *self._waiting_alone]

    def _held(self) -> int:
        """Return how many trials in line have a row but no record, such as those for a larger worker."""
        return sum(trial_key(number) not in self.records for number in self._in_line())

    def _startable(self) -> int:
        """Return how many trials without a row may start now; infeasible trials allow more later."""
        held = self._held()
        wanted = self._limit - self._counted() - held
        untried = wanted if self._points is None else self._points - len(self.records) - held
        return max(0, min(wanted, untried))

    def _next_in(self, line: deque[int], worker: Ready | None) -> int | None:
        """Take the first trial out of a line that fits the worker, and reject those that fit none."""
        for number in list(line):
            placement = self._place(number, worker)
            if placement is Placement.ELSEWHERE or self._is_stuck(number):
                continue
            line.remove(number)
            if placement is Placement.HERE:
                return number
            self._reject(number)
        return None

    def _place(self, number: int, worker: Ready | None) -> Placement:
        return self._workforce.place(self._memory.bytes_of(self._point(number)), worker)

    def _is_stuck(self, number: int) -> bool:
        """Return whether a trial with results fits no worker: it waits for a run that has a larger one."""
        record = self.records.get(trial_key(number))
        begun = record is not None and bool(record.measurements)
        return begun and self._place(number, None) is Placement.NOWHERE

    def _draw(self, worker: Ready | None) -> int | None:
        """Return a new row for a worker; None if none may start, or if the sampler's points fit others only.

        A point that fits no worker becomes an infeasible trial, and another is drawn. A point that fits
        another worker waits for that one. A grid is never left for random points: the next call goes on.
        """
        limit = worker.trial_limit_bytes if worker else self._workforce.largest_bytes
        if self._startable() > 0:
            self._check_space()
        if limit is not None and limit < self._memory.smallest_bytes:
            return None
        point: Point = {}
        for _ in range(1 + (_REDRAWS_OF_GP if self._study.sampler.name is SamplerName.GP else _REDRAWS)):
            if self._startable() == 0 or self._held() >= self._workforce.capacity:
                return None
            number = self._new_row()
            point = self._point(number)
            match self._place(number, worker):
                case Placement.HERE:
                    return number
                case Placement.ELSEWHERE:
                    self._waiting.append(number)
                case Placement.NOWHERE:
                    self._reject(number)
        return None if self._points or limit is None else self._new_row(like=point, limit_bytes=limit)

    def _check_space(self) -> None:
        """Check that the smallest trial of the space fits a worker."""
        smallest, largest = self._memory.smallest_bytes, self._workforce.largest_bytes
        if self._workforce.place(smallest, None) is Placement.NOWHERE:
            raise InputError(
                f"space: a trial must fit a worker, the smallest needs {size(smallest)} of device memory and "
                f"a worker has {size(largest)} for one; search smaller ranks or fewer target_modules, take a "
                "smaller base, or a device with more memory"
            )

    def _reject(self, number: int) -> None:
        """Store that a trial fits no worker; no worker is given it, and it does not count."""
        needed, largest = self._memory.bytes_of(self._point(number)), self._workforce.largest_bytes or 0
        reason = f"fits no worker: needs {size(needed)} of device memory, the largest has {size(largest)}"
        excess = (needed - largest) / max(1, largest)
        record = self._ledger.reject(self._spec(number, attempt=0), reason, excess=excess)
        mark_infeasible(self._row(record.key), reason, excess=excess)
        self._tell(record.key, OptunaState.PRUNED)
        self._rejected.append(record)

    def _new_row(self, *, like: Point | None = None, limit_bytes: int = 0) -> int:
        """Add a row: what is enqueued, or else the sampler's point.

        Args:
            like: a point that does not fit; it is changed until it fits into `limit_bytes`.
            limit_bytes: device memory that a worker has for one trial.
        """
        # The number is unknown before the ask, but Optuna numbers rows from 0 without gaps.
        number = len(self._rows.get_trials(deepcopy=False))
        if like is None:
            self._rows.sampler = build_sampler(self._study, number)
        else:
            seed = derive_seed(self._study.seed, number)
            self._rows.sampler = FeasibleSampler(self._memory, like=like, limit_bytes=limit_bytes, seed=seed)
        trial = self._rows.ask()
        self._trials[trial.number] = trial
        return trial.number

    def _begin(self, number: int, worker: Ready | None) -> Start:
        known = self.records.get(trial_key(number))
        return self._ledger.begin(self._spec(number, attempt=known.attempt + 1 if known else 1), worker)

    def _spec(self, number: int, *, attempt: int) -> TrialSpec:
        return resolve_trial(self._study, number=number, attempt=attempt, sampled=self._point(number))

    def _point(self, number: int) -> Point:
        """Return the point of a row; read once, since Optuna asks the storage for each value."""
        if number not in self._drawn:
            self._drawn[number] = suggest(self._trial(number), self._memory.space)
        return self._drawn[number]

    def _counted(self) -> int:
        return sum(record.state is not TrialState.INFEASIBLE for record in self.records.values())

    def _trial(self, number: int) -> Trial:
        """Return a row as Optuna's object; created once, since its creation asks the sampler."""
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
        self._drawn.pop(number, None)


def _is_success(record: TrialRecord) -> bool:
    """Return whether a trial was trained and judged, by its score or by the pruner."""
    return record.state is TrialState.COMPLETE or (record.state is TrialState.PRUNED and record.error is None)
