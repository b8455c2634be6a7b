"""The phases of a trial on its worker, each with what belongs to it; the moves are methods of `Trial`.

    Waiting  -> Training (enter), Ending (resume, decide), Judging (diverge)
    Training -> Waiting (suspend), Judging (begin_measurement of the last update, diverge), Ending (decide)
    Judging  -> Ending (decide)
    Ending   -> Finishing (hand_over)
    any      -> Over (close)

A measurement under way stands beside the phase: `Trial.measuring`.
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
    """A trial was asked for what its phase does not allow: a fault of ours, never of a study."""


@dataclass(frozen=True)
class Waiting:
    """The trial waits for a slot.

    Attributes:
        state: what its slot will begin from.
    """

    state: SlotState


@dataclass
class Training:
    """The trial holds a slot.

    Attributes:
        slot: its number.
        batch: the optimiser batch under way; None between updates.
    """

    slot: int
    batch: OptimizerBatch | None = None


@dataclass(frozen=True)
class Judging:
    """The trial trains no more; the measurement under way decides how it ends.

    Attributes:
        diverged: what went wrong in an update after the measured one; None where all updates are made.
    """

    diverged: DivergedError | None


@dataclass(frozen=True)
class Ending:
    """Training is over; the best matrices wait to be scored on eval.select.

    Attributes:
        reason: why it is over, in a line.
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
    """The trial finished, failed or was stopped; nothing more happens to it here."""


Phase = Waiting | Training | Judging | Ending | Finishing | Over


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A trial as it was when a copy of its adapter went to be measured.

    Attributes:
        progress: as of then; its points of the grid are counted as they are announced.
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
