"""The QLoRA objective: trials take slots over one resident base, and train and are scored together."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import (
    Decision,
    Event,
    Failed,
    Finished,
    Noted,
    Score,
    Scored,
    Start,
    Stop,
    Stopped,
    TrialEvent,
    Worked,
)
from loratory.objectives.futures import SerialThread
from loratory.objectives.packing.out_of_memory import device_is_lost
from loratory.objectives.qlora.announcements import Announcements, failed_event
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.device_work import DevicePolicy, DeviceWork
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.memory.pressure import AllocationPressure, allocation_retries
from loratory.objectives.qlora.relief import MemoryRelief, Need
from loratory.objectives.qlora.scoring.evaluator import Result
from loratory.objectives.qlora.scoring.measurements import Measurements
from loratory.objectives.qlora.scoring.study_scores import StudyScores
from loratory.objectives.qlora.trial.arrivals import Arrivals
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.phases import Over, Waiting
from loratory.objectives.qlora.trial.trial import Selection, Trial
from loratory.objectives.qlora.updates import UpdateResult
from loratory.objectives.records import Check
from loratory.objectives.stopping import stopping_rule
from loratory.objectives.work_times import Part, WorkClock
from loratory.spaces.errors import LoratoryError
from loratory.spaces.study import StudySpec

_SECONDS_BETWEEN_PROGRESS = 1.0
# Longest wait for texts to be scored when there is no other work; decisions are delayed as long.
_SECONDS_OF_WAITING = 0.05
# All slots need an adapter at the start of a study, so a worker briefly uses more than its share of cores.
_THREADS_FOR_ADAPTERS = 4


class QloraObjective:
    """Trials over one base. Every call of `advance` makes a training pass, or a step of pending scoring.

    Attributes:
        capacity: trials accepted at once: in slots, waiting for one, or being scored.
    """

    def __init__(
        self,
        study: StudySpec,
        *,
        base: Base,
        engine: Engine,
        data: PreparedData,
        hashes: dict[str, str],
        checks: tuple[Check, ...] = (),
    ) -> None:
        """Start without trials over a loaded base.

        Args:
            study: the study.
            base: the resident base.
            engine: slots and evaluator over the base.
            data: the splits.
            hashes: content hashes, announced with `Ready`.
            checks: what was asked of the base before it was loaded, announced likewise.
        """
        self._engine, self.capacity = engine, engine.capacity
        on_gpu = base.device.type == "cuda"
        rule = stopping_rule(study.stopping)
        self._arrivals = Arrivals(
            engine.architecture,
            Selection(metric=study.metric, direction=study.metric_direction, rule=rule),
            train_examples=len(data.train),
            evaluations=study.evaluation.evaluations,
            threads=_THREADS_FOR_ADAPTERS if on_gpu else 1,  # on a CPU, training needs the cores
        )
        self._trials: dict[Hashable, Trial] = {}
        self._study_scores = StudyScores(engine.slots, engine.evaluator, engine.architecture, data)
        checkpoints = CheckpointClock()
        self._announcements = Announcements(base, checkpoints)
        ready = self._announcements.ready(engine, hashes)
        self._ready: list[Event] = [replace(ready, checks=(*checks, *ready.checks))]
        copies = SerialThread(threaded=on_gpu, byte_limit=engine.copy_limit_bytes)
        self._relief = MemoryRelief(engine, copies)
        self._pressure = AllocationPressure(partial(allocation_retries, base.device))
        policy = DevicePolicy(gathers=on_gpu)
        self._clock, self._times_are_due, self._decoded_tokens = WorkClock(), False, 0
        self._work = DeviceWork(engine.slots, engine.evaluator, self._relief, policy)
        self._measurements = Measurements(
            engine.slots,
            engine.evaluator,
            self._relief,
            self._announcements,
            checkpoints,
            data,
            copies=copies,
            files=SerialThread(threaded=on_gpu),
        )

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then do one unit of work; return the events of both."""
        self._clock.lap(Part.IDLE)
        events, self._ready = [*self._ready, *self._times()], []
        for decision in decisions:
            events += self._carry_out(decision)
        events += self._admit()
        part, done = self._advance_work()
        events += done
        for trial in list(self._trials.values()):
            events += self._guarded(trial, self._look_after(trial))
        lines = [*self._relief.take_lines(), *filter(None, [self._pressure.line()])]
        self._clock.lap(part)
        self._times_are_due = any(isinstance(event, Finished | Failed | Stopped | Scored) for event in events)
        return [*events, *(Noted(line=line) for line in lines)]

    def _times(self) -> list[Event]:
        """Return how the time was spent: after the end of a trial or scoring, and once per second."""
        if not (seconds := self._clock.take(now=self._times_are_due)):
            return []
        decoded = self._engine.evaluator.decoded_tokens
        tokens, self._decoded_tokens = decoded - self._decoded_tokens, decoded
        return [Worked(seconds=seconds, decoded_tokens=tokens)]

    def _carry_out(self, decision: Decision) -> Sequence[Event]:
        match decision:
            case Start():
                if len(self._trials) + len(self._arrivals) >= self.capacity:
                    raise LoratoryError(f"a trial starts in a free slot, trials hold all {self.capacity}")
                if (reason := self._engine.why_too_large(decision.trial.training.rank)) is not None:
                    return [failed_event(decision.trial, torch.OutOfMemoryError(reason))]
                self._arrivals.expect(decision)
                return []
            case Stop():
                self._arrivals.cancel(decision.key, decision.attempt)
                if (trial := self._trials.get((decision.key, decision.attempt))) is not None:
                    trial.close()
                    self._forget(trial)
                return [Stopped(key=decision.key, attempt=decision.attempt)]
            case Score():
                self._study_scores.want(decision)
                return []

    def _admit(self) -> list[Event]:
        """Accept the trials that are ready, and give free slots to trials in line."""
        events: list[Event] = []
        slots = self._engine.slots
        for spec, made in self._arrivals.arrived(awaited=0 if self._busy else slots.free):
            if isinstance(made, Exception):
                events.append(failed_event(spec, made))
                continue
            self._trials[made.key] = made
            if isinstance(made.phase, Waiting):
                slots.line_up(made)
            else:  # its checkpoint was its last
                events.append(self._announcements.started(made))
        while slots.free and (trial := slots.next_in_line) is not None:
            events += self._guarded(trial, self._place(trial))
            if isinstance(trial.phase, Waiting):  # no memory: retry after the engine was reduced
                break
        return events

    @property
    def _busy(self) -> bool:
        """True if there is work besides waiting for trials that are being made."""
        slots, evaluator = self._engine.slots, self._engine.evaluator
        device = slots.ready or evaluator.waiting or slots.next_in_line
        return bool(device or evaluator.scores_texts or self._study_scores.any)

    def _place(self, trial: Trial) -> Iterator[TrialEvent]:
        goes_on = trial.has_begun
        place = partial(self._engine.slots.place, trial)
        if self._relief.fits(place, Need.ADAPTER) and not goes_on:
            yield self._announcements.started(trial)

    def _advance_work(self) -> tuple[Part, list[Event]]:
        """Do one unit of work; return what it was, and its events."""
        self._study_scores.begin()
        done = self._work.advance(self._trials)
        events = self._settle(done.updates)
        for trial, failed in done.failed:
            events += self._fail(trial, failed)
        waits = _SECONDS_OF_WAITING if done.part is Part.IDLE else 0.0
        for result in self._engine.evaluator.scored(wait_seconds=waits):
            events += self._take(result)
        return done.part, events

    def _settle(self, updates: Sequence[UpdateResult]) -> list[Event]:
        events: list[Event] = []
        for trial, error in updates:
            if error is not None and trial.diverge(error):
                events += self._fail(trial, failed_event(trial.spec, error))
        return events

    def _take(self, result: Result) -> list[Event]:
        if (trial := self._trials.get(result.key)) is not None:
            return self._guarded(trial, self._measurements.take(trial, result))
        return [self._study_scores.event(result)]

    def _look_after(self, trial: Trial) -> Iterator[TrialEvent]:
        if trial.seconds_since_points >= _SECONDS_BETWEEN_PROGRESS:
            yield from self._announcements.curve(trial)
        yield from self._measurements.look_after(trial)

    def _guarded(self, trial: Trial, work: Iterable[TrialEvent]) -> list[Event]:
        """Return the events of `work` for one trial; an exception in it fails the trial."""
        events: list[Event] = []
        failed: Failed | None = None
        try:
            for event in work:
                events.append(event)
        except Exception as error:
            if device_is_lost(error):
                raise
            failed = failed_event(trial.spec, error)
        if failed is not None:
            return [*events, *self._fail(trial, failed)]
        if isinstance(trial.phase, Over):
            self._forget(trial)
        return events

    def _fail(self, trial: Trial, failed: Failed) -> list[Event]:
        events = [*self._announcements.curve(trial)]
        resources = self._announcements.resources(trial)
        trial.close()
        self._forget(trial)
        return [*events, replace(failed, resources=resources)]

    def _forget(self, trial: Trial) -> None:
        """Release the resources of a trial that is over."""
        self._engine.evaluator.drop(trial.key)
        self._trials.pop(trial.key, None)
