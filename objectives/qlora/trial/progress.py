"""How far a trial is: plain values, all of them in its checkpoint."""

from dataclasses import dataclass

from loratory.objectives.stopping import Evaluated


@dataclass(kw_only=True)
class Progress:
    """How far a trial is.

    Attributes:
        optimizer_steps: updates made.
        reported: points of the nominal grid that are reported, or being measured.
        examples_seen: training examples seen, repeats counted.
        tokens_seen: training tokens seen, repeats counted.
        elapsed_seconds: time since it took its slot, earlier attempts included.
        device_seconds: its share of the device's time.
        pack_size: most trials that were in a pass with it, itself included.
        peak_memory_bytes: most memory held by the pack.
        skipped_in_a_row: updates left out one after the other for an overflow (fp16).
        metrics: what was measured at this update; None until it is.
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
