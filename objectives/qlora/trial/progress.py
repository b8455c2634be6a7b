"""How far a trial is: plain values, and a snapshot of them with what the slot held."""

from concurrent.futures import Future
from dataclasses import dataclass

from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.records import Measurement


@dataclass(kw_only=True)
class Progress:
    """How far a trial is; plain values, all of them in its checkpoint.

    Attributes:
        optimizer_steps: updates made.
        reported: points of the nominal grid reported.
        examples_seen: training examples seen.
        tokens_seen: training tokens seen.
        elapsed_seconds: since it took its slot, earlier attempts included.
        device_seconds: its share of the device's time.
        pack_size: most trials that were in a pass with it.
        peak_memory_bytes: most memory held by the pack.
        skipped_in_a_row: updates left out one after the other for an overflow (fp16).
        metrics: what was measured at this update; None until it is.
        best_step: point of the grid with the best value; 0 before the first.
        best_value: that value.
        stalled: evaluations since then.
    """

    optimizer_steps: int = 0
    reported: int = 0
    examples_seen: int = 0
    tokens_seen: int = 0
    elapsed_seconds: float = 0.0
    device_seconds: float = 0.0
    pack_size: int = 1
    peak_memory_bytes: int = 0
    skipped_in_a_row: int = 0
    metrics: dict[str, float] | None = None
    best_step: int = 0
    best_value: float | None = None
    stalled: int = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A trial as it was when a copy of its adapter went to be evaluated.

    Attributes:
        progress: then.
        state: then, as soon as it is on the CPU; without moments where no checkpoint is to be made of it.
        checkpoint: whether one is.
    """

    progress: Progress
    state: Future[SlotState]
    checkpoint: bool


def measurement_of(progress: Progress) -> Measurement:
    """What was measured, as the grid's next point, which counts as reported from now on."""
    progress.reported += 1
    return Measurement(
        step=progress.reported,
        optimizer_steps=progress.optimizer_steps,
        examples_seen=progress.examples_seen,
        tokens_seen=progress.tokens_seen,
        elapsed_seconds=progress.elapsed_seconds,
        metrics=dict(progress.metrics or {}),
    )
