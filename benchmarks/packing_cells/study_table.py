"""The times of both sides of the whole-study benchmark, as Markdown and as data."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from packing_cells.study_plan import EVALUATIONS, Parameters, StudySize, updates_of
from packing_cells.table import markdown_table

Line = dict[str, Any]
_HEAD = ("side", "makespan s", "training s", "scoring s", "other s", "total s", "mean slots")
_PIECES = {"place": "adapters put in", "copy": "copied", "report": "reported", "finish": "trials finished"}
_MEANING = """Makespan: from the first trial's start to the last one's end. Total: with Ray, the base and \
its score, and the report; of Trainer + PEFT with loading the base. Other: between pieces of work on the \
device, whose idle share is at most that; of Trainer + PEFT making adapter and Trainer. The latter has no \
logging, checkpoints, saved adapters or text metrics."""


def scaled(measured: Sequence[Line], trials: Sequence[Parameters], size: StudySize) -> dict[str, Any]:
    """Estimate the seconds of all trials one after another from those of some.

    An update costs what it did at its batch size, or the mean over batch sizes where none of its size was
    measured; an evaluation and a trial's setup cost their means.

    Args:
        measured: for each measured trial its `trial`, and the result of `TrainerStudy.run`.
        trials: the whole list.
        size: gives the updates of a trial.
    """
    lines = pd.json_normalize(list(measured))
    paces = (lines["training_seconds"] / lines["updates"]).groupby(lines["trial.batch_size"]).mean()
    training = sum(updates_of(t, size) * paces.get(t["batch_size"], paces.mean()) for t in trials)
    dev, select, setup = len(trials) * lines[["dev_seconds", "select_seconds", "setup_seconds"]].mean()
    makespan = float(training + dev + select + setup)
    return {
        "trials": len(trials),
        "measured_trials": len(measured),
        "makespan_seconds": makespan,
        "training_seconds": float(training),
        "scoring_seconds": float(dev + select),
        "other_seconds": float(setup),
        "seconds_per_update": {str(batch): pace for batch, pace in paces.items()},
        "total_seconds": makespan + measured[-1]["load_seconds"],
    }


def as_data(lines: Sequence[Line], trials: Sequence[Parameters], size: StudySize) -> dict[str, Any]:
    """Return both sides, as far as they were measured, and the ratio of their makespans.

    The lines of the results file are of one device and one plan; of several runs of loratory the last counts.
    """
    ours = next((line["measured"] for line in reversed(lines) if line["side"] == "ours"), None)
    found = {line["number"]: line["measured"] for line in lines if line["side"] == "trainer"}
    trainer = scaled(list(found.values()), trials, size) if found else None
    ratio = trainer["makespan_seconds"] / ours["makespan_seconds"] if ours and trainer else None
    machine = lines[-1]["machine"] if lines else {}
    return {"machine": machine, "ours": ours, "trainer": trainer, "trainer_over_ours": ratio}


def as_markdown(data: dict[str, Any], plan: dict[str, Any]) -> str:
    """Return a table with a row per side, and what its numbers mean."""
    size, ours = plan["size"], data["ours"]
    workers = f", {ours['workers']} workers" if ours and ours["workers"] > 1 else ""
    sides = {f"loratory run{workers}": ours, "Trainer + PEFT in turn": data["trainer"]}
    parts = [
        f"{plan['trials']} trials of {plan['shape']}, {plan['updates']:,} updates in all. Each trial has "
        f"{EVALUATIONS} evaluations of {size['dev']} prompts and one of {size['select']}, with "
        f"{size['answer_tokens']} new tokens each. {data['machine'].get('device', 'unknown')}.",
        markdown_table(_HEAD, [_row(title, side) for title, side in sides.items() if side]),
        _MEANING,
        "\n".join(f"- {fact}" for fact in _facts(data)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(title: str, side: Line) -> list[str]:
    whole, parts = side["makespan_seconds"], (side[f"{n}_seconds"] for n in ("training", "scoring", "other"))
    shares = [f"{seconds:,.1f} ({seconds / whole:.0%})" for seconds in parts]
    slots = f"{side.get('mean_slots', 1):.1f}"
    return [title, f"{whole:,.1f}", *shares, f"{side['total_seconds']:,.1f}", slots]


def _facts(data: dict[str, Any]) -> Iterator[str]:
    if ours := data["ours"]:
        yield f"loratory: {'; '.join(ours['notes'])}; up to {ours['trials_at_once']} trials at once."
        pieces = (f"{_PIECES[kind]} {s:.1f} s" for kind, s in ours.get("known_seconds", {}).items())
        yield f"Known parts of other: {', '.join(pieces) or 'none'}."
        slots = ", ".join(f"{slots:g}" for slots in ours["slots_over_time"])
        yield f"Slots in use, by twentieths of the makespan: {slots}."
        if (busy := ours.get("busy_share")) is not None:
            yield f"Until the last trial took its slot, {busy:.0%} of the slots were in use."
        if short := ours["short_answers"]:
            yield f"{short} answers ended before their last token: not a fair comparison."
    if trainer := data["trainer"]:
        measured, trials = trainer["measured_trials"], trainer["trials"]
        scaled = " and the rest scaled, by updates of each batch size and by evaluations"
        rest = scaled if measured < trials else ""
        yield f"Trainer + PEFT: {measured} of {trials} trials were measured{rest}."
        paces = (f"{1000 * s:.0f} ms at {size}" for size, s in trainer["seconds_per_update"].items())
        yield f"Trainer + PEFT: an update takes {', '.join(paces)} examples."
    if ratio := data["trainer_over_ours"]:
        yield f"The study is {ratio:.1f} times as long with Trainer + PEFT."
