"""Progress of a trial: plain values, all of them in its checkpoint."""

from dataclasses import dataclass

from loratory.objectives.stopping import Evaluated


@dataclass(kw_only=True)
class Progress:
    """Progress of a trial.

    Attributes:
        optimizer_steps: updates made.
        reported: points of the nominal grid that are reported or being measured.
        examples_seen: training examples seen, repeats counted.
        tokens_seen: training tokens seen, repeats counted.
        elapsed_seconds: time since the trial took its slot, earlier attempts included.
        device_seconds: the trial's share of device time.
        pack_size: largest number of trials in one pass with this trial, itself included.
        peak_memory_bytes: peak memory of the pack.
        skipped_in_a_row: consecutive updates skipped because of overflow (fp16).
        metrics: metrics on eval.dev at this update; None before they are measured.
        history: the study's metric at each measurement on eval.dev, in order.
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
    history: tuple[Evaluated, ...] = ()
