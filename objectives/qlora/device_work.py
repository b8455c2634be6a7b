"""Units of device work: a training pass, or a step of pending scoring."""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from loratory.objectives.events import Failed
from loratory.objectives.packing.out_of_memory import device_is_lost, is_out_of_memory
from loratory.objectives.qlora.announcements import failed_event
from loratory.objectives.qlora.relief import MemoryRelief, Need, lacks_memory
from loratory.objectives.qlora.scoring.evaluator import Evaluator
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.qlora.updates import UpdateResult
from loratory.objectives.records import FailureKind
from loratory.objectives.work_times import Part

# Passes that a copy waits for others to be scored with it, as long as its trial can train on.
_MOST_PASSES_WAITED = 16


class DevicePolicy:
    """Chooses between training and scoring: copies gather while trials train, then all are scored.

    A few large batches decode faster than many small ones. Waiting costs nothing while all trials train on,
    except the work of a trial that the awaited evaluation ends.
    """

    def __init__(self, *, gathers: bool) -> None:
        """Start with training.

        Args:
            gathers: whether joint decoding is faster on this device; if not, copies are scored at once.
        """
        self._gathers = gathers
        self._scoring, self._passes = False, 0

    def trained(self) -> None:
        """Count a pass of training."""
        self._passes += 1

    def scores(self, *, waiting: int, training: int, ready: int, urgent: bool) -> bool:
        """Return True if the next unit of work is scoring.

        Args:
            waiting: copies without scores.
            training: trials that hold a slot.
            ready: trials in slots that can make a pass.
            urgent: whether to score without waiting for more copies.
        """
        if not waiting:
            self._scoring, self._passes = False, 0
            return False
        late = not self._gathers or self._passes >= _MOST_PASSES_WAITED
        self._scoring = self._scoring or urgent or late or not ready or 2 * waiting >= training
        return self._scoring


@dataclass(frozen=True, kw_only=True)
class WorkDone:
    """The outcome of one unit of work.

    Attributes:
        updates: results of updates that were launched earlier.
        failed: trials that failed in it, with their events.
        part: what the device did; idle where it had nothing to do.
    """

    updates: Sequence[UpdateResult] = ()
    failed: Sequence[tuple[Trial, Failed]] = ()
    part: Part


class DeviceWork:
    """Runs the next unit of work on the device, and reduces its size when memory runs out."""

    def __init__(
        self, slots: Slots, evaluator: Evaluator, relief: MemoryRelief, policy: DevicePolicy
    ) -> None:
        """Keep the sources of work.

        Args:
            slots: trials that train.
            evaluator: adapters that wait for scores.
            relief: frees memory when it runs out.
            policy: chooses between training and scoring.
        """
        self._slots, self._evaluator, self._relief, self._policy = slots, evaluator, relief, policy

    def advance(self, trials: Mapping[Hashable, Trial]) -> WorkDone:
        """Do one unit of work.

        Args:
            trials: all trials by key.
        """
        ready = self._slots.ready
        scores = self._policy.scores(
            waiting=len(self._evaluator.waiting),
            training=len(self._slots.training),
            ready=len(ready),
            urgent=not self._evaluator.has_room,
        )
        if scores:
            return self._score(trials)
        if ready:
            self._policy.trained()
            return self._train(ready)
        return WorkDone(updates=self._slots.collect_results(), part=Part.IDLE)

    def _train(self, ready: Sequence[Trial]) -> WorkDone:
        try:
            return WorkDone(updates=self._slots.advance(), part=Part.TRAINING)
        except Exception as error:
            if device_is_lost(error) or (len(ready) > 1 and not is_out_of_memory(error)):
                raise  # the worker is broken, or any of several trials is the cause
            failed = failed_event(ready[0].spec, error)
        # Outside the handler: while the exception lives, so do the tensors of the failed pass.
        if failed.kind is FailureKind.OOM:
            if self._relief.make_room(Need.PASS):
                return WorkDone(part=Part.TRAINING)
            failed = replace(failed, message=str(lacks_memory(Need.PASS, failed.message)))
        return WorkDone(failed=[(ready[0], failed)], part=Part.TRAINING)

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
            if self._relief.make_room(Need.SCORING):
                return WorkDone(part=Part.SCORING)
            return _lost(keys, trials, message)
        seconds = (time.perf_counter() - began) / len(keys)
        for key in keys:
            if key in trials:
                self._slots.account(trials[key], seconds)
        return WorkDone(updates=self._slots.collect_results(), part=Part.SCORING)


def _lost(keys: Sequence[Hashable], trials: Mapping[Hashable, Trial], message: str) -> WorkDone:
    """Fail the trials that wait for scores, when no memory can be freed.

    Raises:
        torch.OutOfMemoryError: scores that belong to no trial are lost, which ends the worker.
    """
    error = lacks_memory(Need.SCORING, message)
    if any(key not in trials for key in keys):
        raise error
    failed = [(trials[key], failed_event(trials[key].spec, error)) for key in keys]
    return WorkDone(failed=failed, part=Part.SCORING)
