"""What the readings say together: medians and spreads, ratios, goals, and where packing loses."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packing_cells.cells import (
    CEILING,
    GENERATE,
    OURS,
    PACKED_DECODING,
    PROCESSES,
    TRAINER,
    Cell,
    count_of,
    is_another_format,
)
from packing_cells.results import Reading, by_device

TRIAL_STEPS = 500  # what "a trial" means where its seconds are given


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The repeats of one variant in one cell.

    Attributes:
        variant: its name.
        fits: whether memory sufficed in every repeat; the numbers are 0 where not.
        repeats: how many.
        tokens_per_second: median.
        lowest: slowest repeat.
        highest: fastest repeat.
        peak_memory_bytes: median of what tensors held.
        device_memory_bytes: median of all that was taken.
        details: medians of other numbers.
    """

    variant: str
    fits: bool
    repeats: int
    tokens_per_second: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    peak_memory_bytes: float = 0.0
    device_memory_bytes: float = 0.0
    details: Mapping[str, float]


Cells = dict[Cell, dict[str, Summary]]
"""Summaries by cell and variant, shapes in the order of the readings, the rest in that of the tables."""


def summarize(readings: Iterable[Reading]) -> Cells:
    """Bring the repeats of every variant together.

    Raises:
        ValueError: the readings are of more than one device.
    """
    taken = list(readings)
    if len(devices := by_device(taken)) > 1:
        raise ValueError(f"readings must be of one device, got {', '.join(devices)}")
    grouped: dict[Cell, dict[str, list[Reading]]] = defaultdict(lambda: defaultdict(list))
    for reading in taken:
        grouped[Cell.parse(reading.cell)][reading.variant].append(reading)
    shapes = list(dict.fromkeys(cell.shape for cell in grouped))
    return {
        cell: {variant: _summary(variant, grouped[cell][variant]) for variant in _in_order(grouped[cell])}
        for cell in sorted(grouped, key=lambda cell: (shapes.index(cell.shape), cell.place))
    }


_KINDS = (CEILING, TRAINER, GENERATE, PROCESSES, OURS, PACKED_DECODING)


def _in_order(variants: Iterable[str]) -> list[str]:
    """Variants of one kind together, from few to many of them; ours come last."""

    def place(variant: str) -> tuple[int, bool, int]:
        kind = next((kind for kind in _KINDS if variant.startswith(kind)), None)
        if kind is None:
            return len(_KINDS), False, 0
        count = count_of(variant, kind) if kind in (PROCESSES, OURS) else None
        return _KINDS.index(kind), is_another_format(variant), count or 0

    return sorted(variants, key=place)


def _summary(variant: str, readings: list[Reading]) -> Summary:
    measured = [reading.measured for reading in readings if reading.measured is not None]
    if len(measured) < len(readings):
        return Summary(variant=variant, fits=False, repeats=len(readings), details={})
    paces = [one["tokens_per_second"] for one in measured]
    names = set.intersection(*(set(one["details"]) for one in measured))
    return Summary(
        variant=variant,
        fits=True,
        repeats=len(readings),
        tokens_per_second=statistics.median(paces),
        lowest=min(paces),
        highest=max(paces),
        peak_memory_bytes=statistics.median(one["peak_memory_bytes"] for one in measured),
        device_memory_bytes=statistics.median(one["device_memory_bytes"] for one in measured),
        details={name: statistics.median(one["details"][name] for one in measured) for name in names},
    )


def pace(variants: Mapping[str, Summary], name: str) -> float | None:
    """Median tokens a second; None where it was not measured or did not fit."""
    summary = variants.get(name)
    return summary.tokens_per_second if summary is not None and summary.fits else None


def best(variants: Mapping[str, Summary], prefix: str) -> Summary | None:
    """The fastest of the variants whose name begins so and ends with a number; None where none fits."""
    candidates = [summary for name, summary in variants.items() if name.startswith(prefix) and summary.fits]
    candidates = [summary for summary in candidates if not is_another_format(summary.variant)]
    return max(candidates, key=lambda summary: summary.tokens_per_second, default=None)


def ratio(above: float | None, below: float | None) -> float | None:
    """Their quotient, where both are known."""
    return None if above is None or not below else above / below


def seconds_per_trial(cell: Cell, summary: Summary) -> float | None:
    """Device seconds that a trial of `TRIAL_STEPS` steps costs; None where that means nothing."""
    if cell.workload is None or not summary.fits or summary.variant == CEILING:
        return None
    return TRIAL_STEPS * cell.workload.mean_tokens / summary.tokens_per_second


def rival(variants: Mapping[str, Summary]) -> Summary | None:
    """The fastest way that is not ours."""
    shared = best(variants, PROCESSES)
    others = [summary for summary in (variants.get(TRAINER), variants.get(GENERATE), shared) if summary]
    fitting = [summary for summary in others if summary.fits]
    return max(fitting, key=lambda summary: summary.tokens_per_second, default=None)


def losses(cells: Cells) -> list[str]:
    """A sentence for every cell and number of slots at which another way was faster than ours."""
    found = []
    for cell, variants in cells.items():
        fastest = rival(variants)
        for name, summary in variants.items():
            if not is_packed(name) or fastest is None:
                continue
            if not summary.fits:
                found.append(f"{cell}: {name} did not fit, {fastest.variant} did")
            elif summary.tokens_per_second < fastest.tokens_per_second:
                share = summary.tokens_per_second / fastest.tokens_per_second
                found.append(f"{cell}: {name} has {share:.2f}x the pace of {fastest.variant}")
    return found


def is_packed(variant: str) -> bool:
    """Whether a variant is one of ours."""
    return variant.startswith((OURS, PACKED_DECODING))


def slots_of(variant: str) -> int:
    """The slots of one of our variants; 0 for any other."""
    return count_of(variant, OURS) or 0
