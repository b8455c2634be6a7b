"""Pieces of work for the device: a pass of training, or a piece of the scoring that waits."""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

from loratory.objectives.events import Failed
from loratory.objectives.packing.out_of_memory import device_is_lost, is_out_of_memory
from loratory.objectives.qlora.announcements import failed_event
from loratory.objectives.qlora.relief import MemoryRelief
from loratory.objectives.qlora.scoring.evaluator import Evaluator
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.qlora.updates import UpdateResult
from loratory.objectives.records import FailureKind

# A copy waits so many passes for others to be scored with it, as long as its trial can train on.
_MOST_PASSES_WAITED = 16


class DevicePolicy:
    """Decides whose turn it is: copies gather while trials can train, then are scored until none is left.

    A few large batches decode faster than many small ones, and while all trials go on nothing is lost by
    waiting: a trial's work meanwhile is thrown away only where its evaluation ends it.
    """

    def __init__(self, *, gathers: bool) -> None:
        """Begin with training.

        Args:
            gathers: whether decoding together is faster here; where it is not, nothing waits.
        """
        self._gathers = gathers
        self._scoring, self._passes = False, 0

    def trained(self) -> None:
        """Count a pass of training."""
        self._passes += 1

    def scores(self, *, waiting: int, training: int, ready: int, urgent: bool) -> bool:
        """Return whether the next piece of work is one of scoring.

        Args:
            waiting: copies without scores.
            training: trials that hold a slot.
            ready: those of them that can make a pass.
            urgent: whether there is no point in waiting for more copies.
        """
        if not waiting:
            self._scoring, self._passes = False, 0
            return False
        late = not self._gathers or self._passes >= _MOST_PASSES_WAITED
        self._scoring = self._scoring or urgent or late or not ready or 2 * waiting >= training
        return self._scoring


@dataclass(frozen=True, kw_only=True)
class WorkDone:
    """The outcome of a piece of work.

    Attributes:
        updates: results of updates that were launched earlier.
        failed: trials that it ended, with their events.
        idle: whether the device had nothing to do.
    """

    updates: Sequence[UpdateResult] = ()
    failed: Sequence[tuple[Trial, Failed]] = ()
    idle: bool = False


class DeviceWork:
    """Gives the device its next piece of work, and less of it where memory ends."""

    def __init__(
        self, slots: Slots, evaluator: Evaluator, relief: MemoryRelief, policy: DevicePolicy
    ) -> None:
        """Take what has work.

        Args:
            slots: trials that train.
            evaluator: adapters that wait for scores.
            relief: frees memory where it runs out.
            policy: decides whose turn it is.
        """
        self._slots, self._evaluator, self._relief, self._policy = slots, evaluator, relief, policy

    def advance(self, trials: Mapping[Hashable, Trial], *, urgent: bool) -> WorkDone:
        """Do one piece of work.

        Args:
            trials: all trials by key.
            urgent: whether scores are wanted that no trial waits for.
        """
        ready = self._slots.ready
        scores = self._policy.scores(
            waiting=len(self._evaluator.waiting),
            training=len(self._slots.training),
            ready=len(ready),
            urgent=urgent or not self._evaluator.has_room,
        )
        if scores:
            return self._score(trials)
        if ready:
            self._policy.trained()
            return self._train(ready)
        return WorkDone(updates=self._slots.collect_results(), idle=True)

    def _train(self, ready: Sequence[Trial]) -> WorkDone:
        try:
            return WorkDone(updates=self._slots.advance())
        except Exception as error:
            if device_is_lost(error) or (len(ready) > 1 and not is_out_of_memory(error)):
                raise  # nobody knows whose it is
            failed = failed_event(ready[0].spec, error)
        # Outside the handler: while the exception lives, so do the tensors of the failed pass.
        if failed.kind is FailureKind.OOM and self._relief.make_room():
            return WorkDone()
        return WorkDone(failed=[(ready[0], failed)])

    def _score(self, trials: Mapping[Hashable, Trial]) -> WorkDone:
        began, keys = time.perf_counter(), self._evaluator.waiting
        message: str | None = None
        try:
            self._evaluator.advance()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = str(error)
        if message is not None:
            return WorkDone() if self._relief.make_room(scoring=True) else _lost(keys, trials, message)
        seconds = (time.perf_counter() - began) / len(keys)
        for key in keys:
            if key in trials:
                self._slots.account(trials[key], seconds)
        return WorkDone(updates=self._slots.collect_results())


def _lost(keys: Sequence[Hashable], trials: Mapping[Hashable, Trial], message: str) -> WorkDone:
    """Fail the trials that wait for scores, where nothing can be made smaller.

    Raises:
        torch.OutOfMemoryError: scores are lost that belong to no trial: the driver has to know.
    """
    error = torch.OutOfMemoryError(message)
    if any(key not in trials for key in keys):
        raise error
    return WorkDone(failed=[(trials[key], failed_event(trials[key].spec, error)) for key in keys])
