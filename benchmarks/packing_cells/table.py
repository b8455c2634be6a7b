"""The readings as Markdown, and as plain data for JSON."""

from collections.abc import Iterable, Sequence
from math import nan
from typing import Any

from packing_cells.cells import CEILING
from packing_cells.comparison import PACKED, TRIAL_STEPS, losses, summarize
from packing_cells.goals import outcomes
from packing_cells.results import Reading, by_device

_COLUMNS = {
    "model": "{shape}",
    "tokens per trial and step": "{load}",
    "variant": "{variant}",
    "useful tokens/s": "{tokens_per_second:,.0f}",
    "lowest to highest": "{lowest:,.0f} to {highest:,.0f}",
    "of the ceiling": "{share_of_ceiling:.0%}",
    "against trainer": "{against_trainer:.2f}x",
    "against best of processes": "{against_processes:.2f}x",
    f"GPU-s per trial of {TRIAL_STEPS} steps": "{seconds_per_trial:,.1f}",
    "device memory GiB": "{device_gib:.1f}",
    "tensors at peak GiB": "{peak_gib:.1f}",
}
_PACE, _RANGE, _SHARE = 3, 4, 5  # places of columns


def as_markdown(readings: Iterable[Reading]) -> str:
    """Return for each device a table of all cells, the goals, and where packing loses."""
    return "\n".join(_section(part) for part in as_data(readings)["devices"])


def as_data(readings: Iterable[Reading]) -> dict[str, Any]:
    """Return the same as plain data; None stands for what is not known."""
    return {"devices": [_device(name, taken) for name, taken in by_device(readings).items()]}


def _device(name: str, readings: list[Reading]) -> dict[str, Any]:
    table = summarize(readings)
    rows = table.astype(object)
    return {
        "device": name,
        "machines": list({str(reading.machine): reading.machine for reading in readings}.values()),
        "measurements": rows.where(rows.notna(), None).to_dict("records"),
        "goals": outcomes(table),
        "losses": losses(table),
    }


def _section(part: dict[str, Any]) -> str:
    rows = part["measurements"]
    few, many = (choose(row["repeats"] for row in rows) for choose in (min, max))
    machines = [
        f"Machine: {part['device']}; " + ", ".join(f"{k} {v}" for k, v in machine.items() if k != "device")
        for machine in part["machines"]
    ]
    machines.append(f"Medians of {few if few == many else f'{few} to {many}'} repeats.")
    goals = markdown_table(("goal", "model", "target", "measured", "met"), map(_goal_row, part["goals"]))
    packed = any(row["kind"] in PACKED for row in rows)
    lost = part["losses"] or ["nowhere" if packed else "no packed variant was measured"]
    parts = [f"## {part['device']}", "\n".join(machines), markdown_table(list(_COLUMNS), map(_row, rows))]
    parts += [f"Goals (set for one H200):\n\n{goals}"] if part["goals"] else []
    return "\n\n".join([*parts, "Where packing loses:", "\n".join(f"- {line}" for line in lost)]) + "\n"


def _row(row: dict[str, Any]) -> list[str]:
    known = {name: nan if value is None else value for name, value in row.items()}
    gib = {f"{name}_gib": known[f"{name}_memory_bytes"] / 2**30 for name in ("device", "peak")}
    texts = [pattern.format_map(known | gib) for pattern in _COLUMNS.values()]
    if row["repeats"] == 1:
        texts[_RANGE] = "one reading"
    if not row["fits"]:
        texts[_PACE:] = ["did not fit", *[""] * len(texts[_PACE + 1 :])]
    if row["variant"] == CEILING:
        texts[_SHARE + 1 :] = [""] * len(texts[_SHARE + 1 :])
    return ["" if text.startswith("nan") else text for text in texts]


def _goal_row(goal: dict[str, Any]) -> list[str]:
    target = f"{'<=' if goal['at_most'] else '>='} {goal['target']:g}"
    value = "not measured" if goal["value"] is None else f"{goal['value']:.3g}"
    return [goal["name"], goal["shape"], target, value, {True: "yes", False: "no", None: ""}[goal["met"]]]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
