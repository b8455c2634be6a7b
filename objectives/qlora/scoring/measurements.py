"""Measurements of trials: on eval.dev in training; at the end, of the best matrices on eval.select."""

import time
from collections.abc import Iterator
from functools import partial

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.events import TrialEvent
from loratory.objectives.futures import SerialThread
from loratory.objectives.qlora.announcements import Announcements
from loratory.objectives.qlora.relief import MemoryRelief, Need
from loratory.objectives.qlora.scoring.evaluation import Evaluation
from loratory.objectives.qlora.scoring.evaluator import Evaluator, Result
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.phases import DivergedError, Ending, Finishing, Training
from loratory.objectives.qlora.trial.trial import Trial


class Measurements:
    """Passes adapters of trials to the evaluator, and evaluations back to the trials."""

    def __init__(
        self,
        slots: Slots,
        evaluator: Evaluator,
        relief: MemoryRelief,
        announcements: Announcements,
        checkpoints: CheckpointClock,
        data: PreparedData,
        *,
        copies: SerialThread,
        files: SerialThread,
    ) -> None:
        """Keep the parts that measuring needs.

        Args:
            slots: hold the adapters.
            evaluator: scores copies of them.
            relief: frees memory if a copy does not fit.
            announcements: makes the events.
            checkpoints: decides which measurements bring a checkpoint.
            data: the splits.
            copies: fetches copies from the device.
            files: makes the files of the best matrices.
        """
        self._slots, self._evaluator, self._relief = slots, evaluator, relief
        self._announcements, self._checkpoints, self._data = announcements, checkpoints, data
        self._copies, self._files = copies, files

    def look_after(self, trial: Trial) -> Iterator[TrialEvent]:
        """Begin the measurement or the final scoring that is due for a trial, if a place is free."""
        match trial.phase:
            case Training(slot) if trial.wants_measurement:
                if trial.measured_before:
                    if self._relief.fits(partial(self._snapshot, trial), Need.COPY):
                        yield from self._report(trial)
                elif self._evaluator.has_room:
                    self._relief.fits(partial(self._begin, trial, slot), Need.COPY)
            case Ending(_, best) if self._evaluator.has_room:
                scaling = trial.adapter.scaling
                put = partial(self._evaluator.put, trial.key, best, self._data.select, scaling=scaling)
                if self._relief.fits(put, Need.COPY):
                    trial.hand_over(self._files.begin(self._announcements.making_files(trial)))

    def take(self, trial: Trial, result: Result) -> Iterator[TrialEvent]:
        """Process the scores that a trial waited for.

        Raises:
            DivergedError: a score is not finite, or a later update was not and the measurement does not end
                the trial.
        """
        evaluation = result.evaluation()
        if not evaluation.finite:
            split = "select" if isinstance(trial.phase, Finishing) else "dev"
            raise DivergedError(f"metrics on eval.{split} are {evaluation.scores.aggregate}")
        if isinstance(trial.phase, Finishing):
            yield from self._finish(trial, evaluation)
        else:
            trial.measured(evaluation.scores.aggregate)
            yield from self._announcements.curve(trial)
            yield from self._report(trial)

    def _finish(self, trial: Trial, evaluation: Evaluation) -> Iterator[TrialEvent]:
        yield self._announcements.finished(trial, evaluation)
        trial.close()

    def _report(self, trial: Trial) -> Iterator[TrialEvent]:
        yield from self._announcements.measured(trial)
        trial.decide()

    def _begin(self, trial: Trial, slot: int) -> None:
        """Begin a measurement: request the scores of a copy, and copy the state; or do neither, and raise."""
        self._evaluator.copy(trial.key, slot, self._data.dev)
        try:
            self._snapshot(trial)
        except Exception:
            self._evaluator.drop(trial.key)
            raise

    def _snapshot(self, trial: Trial) -> None:
        began, checkpoint = time.perf_counter(), self._checkpoints.begin()
        copied = self._slots.copy(trial, moments=checkpoint)
        state = self._copies.begin(copied.fetch, nbytes=copied.nbytes)
        seconds = time.perf_counter() - began
        trial.begin_measurement(state, checkpoint=checkpoint)
        self._slots.account(trial, seconds)
        if checkpoint:
            self._checkpoints.took(seconds)
