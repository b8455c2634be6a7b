"""What the two sides of the whole-study benchmark took, as Markdown and as data."""

import statistics
from collections.abc import Sequence
from typing import Any

from packing_cells.study_plan import EVALUATIONS, Parameters, StudySize, updates_of

Line = dict[str, Any]


def scaled(measured: Sequence[Line], trials: Sequence[Parameters], size: StudySize) -> dict[str, Any]:
    """What all trials would take one after another, from some that were measured.

    An update costs what it did at its batch size (or in the mean, where none of that size was measured); an
    evaluation and a trial's setup cost their means.

    Args:
        measured: of each measured trial its `trial`, and what `TrainerStudy.run` gave.
        trials: the whole list.
        size: gives the updates of a trial.
    """
    by_batch: dict[float, list[float]] = {}
    for line in measured:
        pace = line["training_seconds"] / line["updates"]
        by_batch.setdefault(line["trial"]["batch_size"], []).append(pace)
    paces = {batch: statistics.mean(found) for batch, found in by_batch.items()}
    overall = statistics.mean(paces.values())
    training = sum(updates_of(trial, size) * paces.get(trial["batch_size"], overall) for trial in trials)
    dev, select, setup = (
        len(trials) * statistics.mean(line[f"{name}_seconds"] for line in measured)
        for name in ("dev", "select", "setup")
    )
    return {
        "trials": len(trials),
        "measured_trials": len(measured),
        "makespan_seconds": training + dev + select + setup,
        "training_seconds": training,
        "scoring_seconds": dev + select,
        "other_seconds": setup,
        "seconds_an_update": {str(batch): paces[batch] for batch in sorted(paces)},
        "total_seconds": training + dev + select + setup + measured[-1]["load_seconds"],
    }


def as_data(lines: Sequence[Line], trials: Sequence[Parameters], size: StudySize) -> dict[str, Any]:
    """Both sides, as far as they were measured, and how much shorter the study is with ours.

    Args:
        lines: of one device and one plan; of several runs of ours the last counts.
        trials: the list.
        size: of the study.
    """
    ours = next((line["measured"] for line in reversed(lines) if line["side"] == "ours"), None)
    found = {line["number"]: line["measured"] for line in lines if line["side"] == "trainer"}
    trainer = scaled(list(found.values()), trials, size) if found else None
    ratio = trainer["makespan_seconds"] / ours["makespan_seconds"] if ours and trainer else None
    machine = lines[-1]["machine"] if lines else {}
    return {"machine": machine, "ours": ours, "trainer": trainer, "trainer_over_ours": ratio}


def as_markdown(data: dict[str, Any], plan: dict[str, Any]) -> str:
    """A line a side, and what the numbers mean."""
    size, names = plan["size"], {"ours": "loratory run", "trainer": "Trainer + PEFT in turn"}
    if data["ours"] is not None and (workers := data["ours"]["workers"]) > 1:
        names["ours"] += f", {workers} workers"
    rows = [_row(title, data[side]) for side, title in names.items() if data[side] is not None]
    head = ("side", "makespan s", "training s", "scoring s", "other s", "total s", "mean slots")
    parts = [
        f"{plan['trials']} trials of {plan['shape']}, {plan['updates']:,} updates in all. Each trial has "
        f"{EVALUATIONS} evaluations of {size['dev']} prompts and one of {size['select']}, with "
        f"{size['answer_tokens']} new tokens each. {data['machine'].get('device', 'unknown')}.",
        "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)),
    ]
    if (ours := data["ours"]) is not None:
        parts.append(_about_ours(ours))
    if (trainer := data["trainer"]) is not None:
        parts.append(_about_trainer(trainer))
    if (ratio := data["trainer_over_ours"]) is not None:
        parts.append(f"The study is {ratio:.1f} times as long with Trainer + PEFT.")
    return "\n\n".join(parts) + "\n"


def _row(title: str, side: Line) -> list[str]:
    whole = side["makespan_seconds"]
    parts = (side[f"{name}_seconds"] for name in ("training", "scoring", "other"))
    slots = f"{side['mean_slots']:.1f}" if "mean_slots" in side else "1"
    return [
        title,
        f"{whole:,.1f}",
        *(f"{seconds:,.1f} ({seconds / whole:.0%})" for seconds in parts),
        f"{side['total_seconds']:,.1f}",
        slots,
    ]


def _about_ours(ours: Line) -> str:
    kinds = {"place": "adapters put in", "copy": "copied", "report": "reported", "finish": "trials finished"}
    parts = ", ".join(f"{kinds[kind]} {s:.1f} s" for kind, s in ours.get("known_seconds", {}).items())
    known = f" ({parts})" if parts else ""
    text = (
        "loratory: makespan from the first trial's start to the last one's end; total with Ray, the base and "
        f"its score, and the report. Other: between pieces of work on the device{known}, whose idle share is "
        f"at most that. {'; '.join(ours['notes'])}; up to {ours['trials_at_once']} trials at once. Slots in "
        f"use, by twentieths of the makespan: {', '.join(f'{slots:g}' for slots in ours['slots_over_time'])}."
    )
    if ours.get("busy_share") is not None:
        text += f" Until the last trial took its slot, {ours['busy_share']:.0%} of the slots were in use."
    short = ours["short_answers"]
    return text + (
        f" {short} answers were shorter than all should be: not a fair comparison." if short else ""
    )


def _about_trainer(trainer: Line) -> str:
    paces = ", ".join(f"{1000 * s:.0f} ms at {size}" for size, s in trainer["seconds_an_update"].items())
    how = (
        "all trials were measured"
        if trainer["measured_trials"] == trainer["trials"]
        else f"{trainer['measured_trials']} of {trainer['trials']} trials were measured and the rest "
        "scaled, by updates of each batch size and by evaluations"
    )
    return (
        f"Trainer + PEFT: {how}; an update takes {paces} examples. Other: making adapter and Trainer. Total "
        "with loading the base. No logging, checkpoints, saved adapters or text metrics."
    )
