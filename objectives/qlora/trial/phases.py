"""The phases of a trial on its worker, with the data of each. Methods of `Trial` move between phases.

    Waiting  -> Training (enter), Ending (resume, decide), Judging (diverge)
    Training -> Waiting (suspend), Judging (begin_measurement of the last update, diverge), Ending (decide)
    Judging  -> Ending (decide)
    Ending   -> Finishing (hand_over)
    any      -> Over (close)

A measurement under way is kept apart from the phase, in `Trial.measuring`.
"""

import copy
from concurrent.futures import Future
from dataclasses import dataclass

from loratory.objectives.events import AdapterFiles
from loratory.objectives.packing.batch import OptimizerBatch
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.trial.progress import Progress
from loratory.spaces.errors import LoratoryError


class DivergedError(LoratoryError):
    """A loss, a gradient or a metric is no longer a number."""


class PhaseError(RuntimeError):
    """A method of a trial was called in a phase that does not allow it: always a bug of loratory."""


@dataclass(frozen=True)
class Waiting:
    """The trial waits for a slot.

    Attributes:
        state: initial state of its slot.
    """

    state: SlotState


@dataclass
class Training:
    """The trial holds a slot.

    Attributes:
        slot: number of the slot.
        batch: the optimiser batch under way; None between updates.
    """

    slot: int
    batch: OptimizerBatch | None = None


@dataclass(frozen=True)
class Judging:
    """Training has stopped; the measurement under way decides how the trial ends.

    Attributes:
        diverged: error of an update after the measured one; None if all updates are made.
    """

    diverged: DivergedError | None


@dataclass(frozen=True)
class Ending:
    """Training is over; the best matrices wait to be scored on eval.select.

    Attributes:
        reason: one line on why training is over.
        best: the matrices of the best measurement.
    """

    reason: str
    best: AdapterState


@dataclass(frozen=True)
class Finishing:
    """The best matrices are being scored on eval.select.

    Attributes:
        reason: why training is over, in a line.
        files: PEFT's two files of them.
    """

    reason: str
    files: Future[AdapterFiles]


@dataclass(frozen=True)
class Over:
    """The trial finished, failed or was stopped; this worker is done with it."""


Phase = Waiting | Training | Judging | Ending | Finishing | Over


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A trial at the time at which its adapter was copied for a measurement.

    Attributes:
        progress: a copy of that time; its `reported` grows as grid points are announced.
        state: future of the slot's state on the CPU; without moments where `checkpoint` is false.
        checkpoint: whether the measurement brings a checkpoint.
    """

    progress: Progress
    state: Future[SlotState]
    checkpoint: bool

    @classmethod
    def of(cls, progress: Progress, state: Future[SlotState], *, checkpoint: bool) -> "Snapshot":
        """Return a snapshot with a copy of the progress."""
        return cls(progress=copy.copy(progress), state=state, checkpoint=checkpoint)
