"""The QLoRA objective: trials take slots over one resident base, and train and are scored together."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import (
    Decision,
    Event,
    Failed,
    Ready,
    Score,
    Start,
    Stop,
    Stopped,
    TrialEvent,
)
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.announcements import Announcements
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.failures import device_is_lost, failed_event
from loratory.objectives.qlora.host_work import HostWork
from loratory.objectives.qlora.memory.device import device_name, versions
from loratory.objectives.qlora.scoring.evaluation import Evaluation
from loratory.objectives.qlora.scoring.evaluator import Result
from loratory.objectives.qlora.scoring.study_scores import OutsideScores
from loratory.objectives.qlora.trial.arrivals import Arrivals
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.trial import DivergedError, TrialRun
from loratory.objectives.qlora.turns import Turns
from loratory.objectives.records import FailureKind
from loratory.spaces.errors import LoratoryError
from loratory.spaces.study import StudySpec

_SECONDS_BETWEEN_PROGRESS = 1.0
# For texts to be scored, where there is nothing else to do; decisions wait as long.
_SECONDS_OF_WAITING = 0.05
# Copies of adapters that are still on the device take memory there.
_MOST_COPIED_BYTES = 2**30
# At a study's start all slots want one at once: for a moment a worker takes more than its share of cores.
_THREADS_FOR_ADAPTERS = 4


class QloraObjective:
    """Every call of `advance` makes one pass of training, or a piece of the evaluations that wait.

    Attributes:
        slots: trials that it takes at once: those in slots, and a few that wait for one or for their scores.
    """

    def __init__(
        self, study: StudySpec, *, base: Base, engine: Engine, data: PreparedData, hashes: dict[str, str]
    ) -> None:
        """Take over a loaded base.

        Args:
            study: the study.
            base: the resident base.
            engine: slots and evaluator over it.
            data: the splits.
            hashes: content hashes, announced with `Ready`.
        """
        self._study, self._engine, self._data = study, engine, data
        self.slots = engine.trials
        on_gpu = base.device.type == "cuda"
        self._ready: list[Event] = [
            Ready(
                device=device_name(base.device),
                compute_dtype=str(base.compute_dtype).removeprefix("torch."),
                slots=self.slots,
                versions=versions(base.format.packages),
                hashes=hashes,
                notes=engine.notes,
            )
        ]
        self._arrivals = Arrivals(
            engine.architecture,
            train_examples=len(data.train),
            evaluations=study.evaluation.evaluations,
            threads=_THREADS_FOR_ADAPTERS if on_gpu else 1,  # a CPU trains with what it has
        )
        self._runs: dict[int, TrialRun] = {}
        self._waiting: deque[TrialRun] = deque()
        self._outside = OutsideScores(engine.evaluator, engine.architecture, data)
        self._turns = Turns(gathers=on_gpu)
        self._copies = HostWork(beside=on_gpu, most_bytes=_MOST_COPIED_BYTES)
        self._files = HostWork(beside=on_gpu)
        self._checkpoints = CheckpointClock()
        self._announcements = Announcements(base, self._checkpoints)

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then do a piece of work."""
        events, self._ready = self._ready, []
        for decision in decisions:
            events += self._carry_out(decision)
        events += self._admit()
        events += self._work()
        for run in list(self._runs.values()):
            events += self._guarded(run, partial(self._look_after, run))
        return events

    def _carry_out(self, decision: Decision) -> Sequence[Event]:
        match decision:
            case Start():
                self._begin(decision)
                return []
            case Stop():
                self._stop(decision)
                return [Stopped(number=decision.number, attempt=decision.attempt)]
            case Score():
                self._outside.want(decision)
                return []

    # A trial's way into a slot

    def _begin(self, start: Start) -> None:
        if len(self._runs) + len(self._arrivals) >= self.slots:
            raise LoratoryError(f"a trial starts in a free slot, trials hold all {self.slots}")
        self._arrivals.expect(start)

    def _admit(self) -> list[Event]:
        """Give free slots to trials that are ready for one."""
        events: list[Event] = []
        free = self._engine.slots.free
        for trial, made in self._arrivals.arrived(awaited=0 if self._busy else free):
            if isinstance(made, Exception):
                events.append(failed_event(trial, made))
            else:
                self._runs[trial.number] = made
                self._waiting.append(made)
        while self._waiting and self._engine.slots.free:
            run = self._waiting.popleft()
            events += self._guarded(run, partial(self._place, run))
            if run.slot is None:  # there was no memory for it: what is smaller now has its turn first
                break
        return events

    @property
    def _busy(self) -> bool:
        """Whether there is anything to do but to wait for trials on their way in."""
        slots, evaluator = self._engine.slots, self._engine.evaluator
        device = slots.ready or evaluator.waiting
        return bool(device or evaluator.scores_texts or self._waiting or self._outside.any)

    def _place(self, run: TrialRun) -> list[TrialEvent]:
        returns = run.started > 0
        if not self._fits(partial(self._engine.slots.place, run)):
            self._waiting.appendleft(run)
            return []
        return [] if returns else [self._announcements.started(run)]

    def _stop(self, stop: Stop) -> None:
        self._arrivals.cancel(stop.number, stop.attempt)
        run = self._runs.get(stop.number)
        if run is not None and run.trial.attempt == stop.attempt:
            self._forget(run)

    # Work

    def _work(self) -> list[Event]:
        self._outside.begin()
        slots, evaluator = self._engine.slots, self._engine.evaluator
        scores = self._turns.scores(
            waiting=len(evaluator.waiting),
            training=len(slots.runs),
            ready=len(slots.ready),
            urgent=self._outside.any or not evaluator.has_room,
        )
        wait_seconds = 0.0
        if scores:
            events = self._evaluate()
        elif slots.ready:
            self._turns.trained()
            events = self._train()
        else:
            events, wait_seconds = self._settle(slots.settle()), _SECONDS_OF_WAITING
        for result in evaluator.scored(wait_seconds=wait_seconds):
            events += self._take_evaluation(result)
        return events

    def _train(self) -> list[Event]:
        slots, failed = self._engine.slots, None
        runs = slots.ready
        try:
            return self._settle(slots.advance())
        except Exception as error:
            if device_is_lost(error) or (len(runs) > 1 and not is_out_of_memory(error)):
                raise  # nobody knows whose it is
            failed = failed_event(runs[0].trial, error)
        # Outside the handler: while the exception lives, so do the tensors of the failed pass.
        if failed.kind is FailureKind.OOM and self._make_room():
            return []
        return self._end(runs[0], failed)

    def _fits(self, work: Callable[[], None]) -> bool:
        """Do some work; False where memory ran out and something was made smaller, so that it may fit now."""
        message: str | None = None
        try:
            work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = str(error)
        if message is None:
            return True
        if not self._make_room():
            raise torch.OutOfMemoryError(message)
        return False

    def _make_room(self, *, scoring: bool = False) -> bool:
        if self._copies.finish():  # the memory that they had may be enough
            self._engine.begin_again()
            return True
        suspended = self._engine.make_room(scoring=scoring)
        self._waiting.extendleft(reversed(suspended or []))
        return suspended is not None

    def _settle(self, settled: Sequence[tuple[TrialRun, DivergedError | None]]) -> list[Event]:
        events: list[Event] = []
        for run, wrong in settled:
            if wrong is None or self._runs.get(run.trial.number) is not run or run.reason is not None:
                continue
            run.diverged = run.diverged or wrong
            if run.snapshot is None:
                events += self._end(run, failed_event(run.trial, run.diverged))
            else:  # its evaluation stands before the step that went wrong, and may end it first
                self._engine.slots.release(run)
        return events

    def _evaluate(self) -> list[Event]:
        began, keys = time.perf_counter(), self._engine.evaluator.waiting
        failed: str | None = None
        try:
            self._engine.evaluator.advance()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = str(error)
        if failed is not None:
            return [] if self._make_room(scoring=True) else self._lose_evaluations(keys, failed)
        seconds = (time.perf_counter() - began) / len(keys)
        for key in keys:
            if (run := self._run_of(key)) is not None:
                self._engine.slots.account(run, seconds)
        return self._settle(self._engine.slots.settle())

    def _lose_evaluations(self, keys: Sequence[Hashable], message: str) -> list[Event]:
        """Nothing can be made smaller: what waits for scores ends."""
        if any(key in self._outside for key in keys):
            raise torch.OutOfMemoryError(message)  # no trial's: the driver has to know
        runs = [run for key in keys if (run := self._run_of(key)) is not None]
        error = torch.OutOfMemoryError(message)
        return [event for run in runs for event in self._end(run, failed_event(run.trial, error))]

    def _run_of(self, key: Hashable) -> TrialRun | None:
        return next((run for run in self._runs.values() if run.key == key), None)

    def _take_evaluation(self, result: Result) -> list[Event]:
        if result.key in self._outside:
            return [self._outside.event(result.key, result.evaluation())]
        run = self._run_of(result.key)
        if run is None:
            return []
        if run.reason is not None:
            return self._guarded(run, lambda: self._finish(run, result.evaluation()))
        events = self._guarded(run, lambda: self._report(run, result.evaluation()))
        if run.diverged is not None and run.reason is None and self._run_of(result.key) is run:
            events += self._end(run, failed_event(run.trial, run.diverged))
        return events

    # What a trial needs besides passes

    def _look_after(self, run: TrialRun) -> list[TrialEvent]:
        """Send its curve, have it evaluated, end it where it is over."""
        # First: a trial that is over must not be measured at the point that it reached meanwhile.
        self._end_if_over(run)
        events: list[TrialEvent] = []
        if time.perf_counter() - run.points_sent >= _SECONDS_BETWEEN_PROGRESS:
            events += self._announcements.curve(run)
        if run.slot is not None and run.evaluation_due and run.snapshot is None and run.reason is None:
            if run.progress.metrics is not None:  # measured before it was interrupted, but not reported whole
                self._snapshot(run)
                events += self._announcements.measured(run)
            elif self._engine.evaluator.has_room:
                self._engine.evaluator.copy(run.key, self._slot_of(run), self._data.dev)
                self._snapshot(run)
        if run.slot is not None and run.trained_out and not run.evaluation_due:
            self._engine.slots.release(run)
        self._end_if_over(run)
        return events

    def _snapshot(self, run: TrialRun) -> None:
        began, checkpoint = time.perf_counter(), self._checkpoints.begin()
        copied = self._engine.slots.copy(run, moments=checkpoint)
        state = self._copies.begin(copied.fetch, nbytes=copied.nbytes)
        seconds = time.perf_counter() - began
        run.take_snapshot(state, checkpoint=checkpoint)
        self._engine.slots.account(run, seconds)
        if checkpoint:
            self._checkpoints.took(seconds)

    def _slot_of(self, run: TrialRun) -> int:
        assert run.slot is not None
        return run.slot

    def _report(self, run: TrialRun, evaluation: Evaluation) -> list[TrialEvent]:
        if not evaluation.finite:
            raise DivergedError(f"metrics on eval.dev are {evaluation.scores.aggregate}")
        run.keep_measurement(
            evaluation.scores.aggregate, metric=self._study.metric, direction=self._study.metric_direction
        )
        events: list[TrialEvent] = [*self._announcements.curve(run), *self._announcements.measured(run)]
        self._end_if_over(run)
        return events

    def _end_if_over(self, run: TrialRun) -> None:
        """Once training is over, have the best matrices scored on eval.select."""
        evaluator = self._engine.evaluator
        if run.reason is None and run.snapshot is None and run.progress.best_step > 0:
            run.reason = run.why_over(patience=self._study.early_stopping_patience)
            if run.reason is not None:
                self._leave_slot(run)
        if run.reason is not None and run.key not in evaluator and evaluator.has_room:
            assert run.best is not None
            scaling = run.adapter.scaling
            if self._fits(partial(evaluator.put, run.key, run.best, self._data.select, scaling=scaling)):
                run.files = run.files or self._files.begin(self._announcements.making_files(run))

    def _finish(self, run: TrialRun, evaluation: Evaluation) -> list[TrialEvent]:
        if not evaluation.finite:
            raise DivergedError(f"metrics on eval.select are {evaluation.scores.aggregate}")
        finished = self._announcements.finished(run, evaluation)
        self._forget(run)
        return [finished]

    # A trial's way out

    def _guarded(self, run: TrialRun, work: Callable[[], Sequence[TrialEvent]]) -> list[Event]:
        """The events of some work for one trial; what goes wrong in it ends the trial."""
        try:
            return list(work())
        except Exception as error:
            if device_is_lost(error):
                raise
            failed = failed_event(run.trial, error)
        return self._end(run, failed)

    def _end(self, run: TrialRun, failed: Failed) -> list[Event]:
        events = self._announcements.curve(run)
        resources = self._announcements.resources(run)
        self._forget(run)
        return [*events, replace(failed, resources=resources)]

    def _forget(self, run: TrialRun) -> None:
        """Give back all that a trial holds."""
        self._leave_slot(run)
        self._engine.evaluator.drop(run.key)
        self._runs.pop(run.trial.number, None)

    def _leave_slot(self, run: TrialRun) -> None:
        self._engine.slots.release(run)
        if run in self._waiting:
            self._waiting.remove(run)
