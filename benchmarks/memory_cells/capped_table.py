"""Lines and tables of what `capped.py` measured."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

_GIB = 2**30


def study_line(line: dict[str, Any]) -> str:
    """Return what became of a study, in a line."""
    states = Counter(trial["state"] for trial in line["trials"])
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no trials"
    failures = sum(len(trial["failures"]) for trial in line["trials"])
    return (
        f"## {line['cap']}: exit {line['exit_status']}, {line['seconds']:.0f} s, peak "
        f"{line['peak_gib']:.1f} of {line['free_gib']:.1f} GiB; {counts}; {failures} failed attempts; "
        f"{line['arrangements']}"
    )


def infeasible_line(line: dict[str, Any]) -> str:
    """Return the shares of suggestions that fit no worker, by thirds of the study, and how many began."""
    trials = line["trials"]
    size = -(-len(trials) // 3) or 1
    thirds = [trials[start : start + size] for start in range(0, len(trials), size)]
    shares = ", ".join(f"{sum(map(_is_infeasible, third))} of {len(third)}" for third in thirds)
    begun = sum(_is_infeasible(trial) and trial["attempts"] > 0 for trial in trials)
    return f"## {line['cap']}: infeasible suggestions by thirds: {shares}; begun: {begun}"


def _is_infeasible(trial: dict[str, Any]) -> bool:
    return str(trial["state"]) == "INFEASIBLE"


def timing_line(line: dict[str, Any]) -> str:
    """Return the rate of one setting, in a line."""
    if line["error"] is not None:
        return f"## {line['cap']}, {line['settings']}: {line['error']}"
    return (
        f"## {line['cap']}, {line['settings']}: {line['tokens_per_second']:,.0f} tokens/s, "
        f"{line['reserved_peak_bytes'] / _GIB:.1f} GiB reserved, built in {line['build_seconds']:.0f} s, "
        f"{line['arrangement']}"
    )


def grab_line(line: dict[str, Any]) -> str:
    """Return what a neighbour's grab changed, in a line."""
    if "grabbed" not in line:
        return f"## {line['cap']}, {line['moment']}"
    if not line["grabbed"]:
        return f"## {line['cap']}, {line['moment']}: the moment never came"
    left = (line["left"] or 0) / _GIB
    return (
        f"## {line['cap']}, {line['moment']}: {left:.2f} GiB left; lost {line['lost'] or 'none'}, losses "
        f"differ by {line['largest_difference']:.2%} at most"
    )


def as_markdown(lines: Sequence[dict[str, Any]]) -> str:
    """Return the tables of studies and of timings."""
    studies = [line for line in lines if line["kind"] == "study"]
    timings = [line for line in lines if line["kind"] == "engine"]
    parts = []
    if studies:
        parts += [
            "| cap | exit | seconds | peak / free GiB | trials | arrangement |",
            "|---|---|---|---|---|---|",
        ]
        parts += [_study_row(line) for line in studies]
    if timings:
        parts += ["", "| cap | settings | tokens/s | of the best | arrangement |", "|---|---|---|---|---|"]
        parts += [_timing_row(line, _best(timings, line["cap"])) for line in timings]
    if grabs := [line for line in lines if line["kind"] == "grab"]:
        parts += [
            "",
            "| cap | grab at | left GiB | exit | seconds | trials lost | losses differ by | notes |",
        ]
        parts += ["|---|---|---|---|---|---|---|---|", *map(_grab_row, grabs)]
    return "\n".join(parts)


def _study_row(line: dict[str, Any]) -> str:
    states = Counter(trial["state"] for trial in line["trials"])
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    memory = f"{line['peak_gib']:.1f} / {line['free_gib']:.1f}"
    arrangement = "; ".join(_short(arrangement) for arrangement in line["arrangements"])
    status = "too long" if line["exit_status"] is None else line["exit_status"]
    return f"| {line['cap']} | {status} | {line['seconds']:.0f} | {memory} | {counts} | {arrangement} |"


def _grab_row(line: dict[str, Any]) -> str:
    left = f"{line['left'] / _GIB:.2f}" if line.get("left") is not None else ""
    lost = ", ".join(line["lost"]) or "none" if "lost" in line else ""
    differ = f"{line['largest_difference']:.2%}" if "lost" in line else ""
    notes = "" if line.get("grabbed", True) else "the moment never came"
    return (
        f"| {line['cap']} | {line['moment']} | {left} | {line['exit_status']} | {line['seconds']:.0f} "
        f"| {lost} | {differ} | {notes} |"
    )


def _timing_row(line: dict[str, Any], best: float) -> str:
    if line["error"] is not None:
        return f"| {line['cap']} | {line['settings']} | does not fit | | {line['error'][:80]} |"
    rate = line["tokens_per_second"]
    return (
        f"| {line['cap']} | {line['settings']} | {rate:,.0f} | {rate / best:.0%} "
        f"| {_short(line['arrangement'])} |"
    )


def _best(timings: Sequence[dict[str, Any]], cap: str) -> float:
    return max(line.get("tokens_per_second", 0.0) for line in timings if line["cap"] == cap) or 1.0


def _short(arrangement: dict[str, Any]) -> str:
    """Return an arrangement in few words."""
    words = [
        f"K {arrangement.get('slots')}",
        f"T {arrangement.get('tokens_per_pass')}",
        *(["held"] if arrangement.get("holds_base") else []),
        *(["checkpointing"] if arrangement.get("gradient_checkpointing") else []),
        *([f"{arrangement['optimizer_bits']} bits"] if arrangement.get("optimizer_bits") else []),
        *(["offload"] if arrangement.get("offload") or arrangement.get("offloads_optimizer") else []),
        *([] if arrangement.get("graphs", True) else ["no graphs"]),
        f"rows {arrangement.get('decoding_rows')}",
    ]
    return ", ".join(words)
