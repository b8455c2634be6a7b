"""The readings as Markdown, and as plain data for JSON."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from packing_cells.cells import CEILING, PROCESSES, TRAINER, Cell
from packing_cells.comparison import (
    TRIAL_STEPS,
    Cells,
    Summary,
    best,
    is_packed,
    losses,
    pace,
    ratio,
    seconds_per_trial,
    summarize,
)
from packing_cells.goals import Outcome, outcomes
from packing_cells.results import Reading, by_device

_HEAD = (
    "model",
    "tokens a trial and step",
    "variant",
    "useful tokens/s",
    "lowest to highest",
    "of the ceiling",
    "against trainer",
    "against best of processes",
    f"GPU-s a trial of {TRIAL_STEPS} steps",
    "device memory GiB",
    "tensors at peak GiB",
)


def as_markdown(readings: Iterable[Reading]) -> str:
    """For each device one table of all cells, the goals, and where packing loses."""
    return "\n".join(_section(device, taken) for device, taken in by_device(readings).items())


def _section(device: str, taken: list[Reading]) -> str:
    cells = summarize(taken)
    parts = [
        f"## {device}",
        _machines(taken),
        _table(_HEAD, [_row(cells, *place) for place in _places(cells)]),
    ]
    goals = [_goal_row(outcome) for outcome in outcomes(cells)]
    if goals:
        parts.append(
            "Goals (set for one H200):\n\n" + _table(("goal", "model", "target", "measured", "met"), goals)
        )
    packed = any(is_packed(summary.variant) for _, summary in _places(cells))
    lost = losses(cells) or ["nowhere" if packed else "no packed variant was measured"]
    parts.append("Where packing loses:\n\n" + "\n".join(f"- {line}" for line in lost))
    return "\n\n".join(parts) + "\n"


def as_data(readings: Iterable[Reading]) -> dict[str, Any]:
    """The same as plain data."""
    return {"devices": [_device_data(device, taken) for device, taken in by_device(readings).items()]}


def _device_data(device: str, taken: list[Reading]) -> dict[str, Any]:
    cells = summarize(taken)
    return {
        "device": device,
        "machines": [dict(machine) for machine in _distinct_machines(taken)],
        "measurements": [
            {"cell": str(cell), **asdict(summary), **_ratios(cells[cell], summary)}
            for cell, summary in _places(cells)
        ],
        "goals": [asdict(outcome) for outcome in outcomes(cells)],
        "losses": losses(cells),
    }


def _places(cells: Cells) -> list[tuple[Cell, Summary]]:
    return [(cell, summary) for cell, variants in cells.items() for summary in variants.values()]


def _ratios(variants: dict[str, Summary], summary: Summary) -> dict[str, float | None]:
    own = summary.tokens_per_second if summary.fits else None
    processes = best(variants, PROCESSES)
    return {
        "share_of_ceiling": ratio(own, pace(variants, CEILING)),
        "against_trainer": ratio(own, pace(variants, TRAINER)),
        "against_processes": ratio(own, processes.tokens_per_second if processes else None),
    }


def _row(cells: Cells, cell: Cell, summary: Summary) -> list[str]:
    start = [cell.shape, cell.load, summary.variant]
    if not summary.fits:
        return [*start, "did not fit", *[""] * (len(_HEAD) - 4)]
    ratios = _ratios(cells[cell], summary)
    is_ceiling = summary.variant == CEILING
    seconds = seconds_per_trial(cell, summary)
    return [
        *start,
        f"{summary.tokens_per_second:,.0f}",
        f"{summary.lowest:,.0f} to {summary.highest:,.0f}" if summary.repeats > 1 else "one reading",
        _percent(ratios["share_of_ceiling"]),
        "" if is_ceiling else _times(ratios["against_trainer"]),
        "" if is_ceiling else _times(ratios["against_processes"]),
        "" if seconds is None else f"{seconds:,.1f}",
        "" if is_ceiling else f"{summary.device_memory_bytes / 2**30:.1f}",
        "" if is_ceiling else f"{summary.peak_memory_bytes / 2**30:.1f}",
    ]


def _goal_row(outcome: Outcome) -> list[str]:
    sign = "<=" if outcome.at_most else ">="
    value = "not measured" if outcome.value is None else f"{outcome.value:.3g}"
    met = {True: "yes", False: "no", None: ""}[outcome.met]
    return [outcome.name, outcome.shape, f"{sign} {outcome.target:g}", value, met]


def _distinct_machines(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for reading in readings:
        if reading.machine not in found:
            found.append(reading.machine)
    return found


def _machines(readings: list[Reading]) -> str:
    lines = []
    for machine in _distinct_machines(readings):
        rest = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "device")
        lines.append(f"Machine: {machine.get('device', 'unknown')}; {rest}")
    repeats = sorted({summary.repeats for _, summary in _places(summarize(readings))})
    lines.append(
        f"Medians of {' to '.join(str(r) for r in dict.fromkeys([*repeats[:1], *repeats[-1:]]))} repeats."
    )
    return "\n".join(lines)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
