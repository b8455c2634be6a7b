"""Summaries of the readings of one device: medians, spreads, ratios, and where packing loses."""

import re
from collections import defaultdict
from collections.abc import Iterable
from math import nan
from typing import Any

import pandas as pd

from packing_cells.cells import (
    CEILING,
    GENERATE,
    OURS,
    PACKED_DECODING,
    PROCESSES,
    TRAINER,
    Cell,
    is_another_format,
)
from packing_cells.results import Reading, by_device

TRIAL_STEPS = 500  # optimiser steps of a trial where its seconds are given
PACKED = (OURS, PACKED_DECODING)
_KINDS = (CEILING, TRAINER, GENERATE, PROCESSES, *PACKED, "")  # in the order of the tables
_MEDIANS = ["tokens_per_second", "peak_memory_bytes", "device_memory_bytes"]


def summarize(readings: Iterable[Reading]) -> pd.DataFrame:
    """Return one row per cell and variant, indexed by both; NaN stands for figures that are not known.

    Columns:
        cell, shape, load, tokens: `SHAPE:LOAD`, its parts, the load as a number of tokens.
        variant, kind, count, other_format: for example `ours-8-uncached`, `ours-`, 8, True.
        repeats, fits: number of readings; whether memory sufficed in all of them.
        tokens_per_second, lowest, highest: median and range.
        peak_memory_bytes, device_memory_bytes, refill_pack_steps: medians.
        details: medians of other figures, by name.
        seconds_per_trial: device seconds that `TRIAL_STEPS` steps of one trial cost.
        share_of_ceiling, against_trainer, against_processes: tokens/s relative to the fastest of that kind.

    Raises:
        ValueError: the readings are of more than one device.
    """
    groups: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    for reading in (taken := list(readings)):
        groups[reading.cell, reading.variant].append(reading)
    if len(devices := by_device(taken)) > 1:
        raise ValueError(f"readings must be of one device, got {', '.join(devices)}")
    rows = [_summary(Cell.parse(cell), variant, group) for (cell, variant), group in groups.items()]
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    rows.sort(key=lambda row: (shapes.index(row["shape"]), *_place(row)))
    table = pd.DataFrame(rows).set_index(["cell", "variant"], drop=False)
    pace, kinds = table["tokens_per_second"], {CEILING: "share_of_ceiling", TRAINER: "against_trainer"}
    for kind, column in (kinds | {PROCESSES: "against_processes"}).items():
        table[column] = pace / pace.where(table["kind"] == kind).groupby(level=0).transform("max")
    return table


def _place(row: dict[str, Any]) -> tuple[object, ...]:
    """Sort cells by tokens, and variants by kind, then from few to many."""
    return Cell.parse(row["cell"]).place, _KINDS.index(row["kind"]), row["other_format"], row["count"]


def _summary(cell: Cell, variant: str, readings: list[Reading]) -> dict[str, Any]:
    measured = [reading.measured or {} for reading in readings]
    figures = pd.DataFrame(measured, columns=_MEDIANS)  # medians are NaN if one reading did not fit
    details = pd.DataFrame([each.get("details", {}) for each in measured]).median(skipna=False).dropna()
    tokens = cell.workload.mean_tokens if cell.workload and variant != CEILING else nan
    pace = figures["tokens_per_second"]
    return {
        "cell": str(cell),
        "shape": cell.shape,
        "load": cell.load,
        "tokens": float(cell.load) if cell.load.isdigit() else nan,
        "variant": variant,
        "kind": next(kind for kind in _KINDS if variant.startswith(kind)),
        "count": int(re.sub(r"\D", "", variant) or 0),
        "other_format": is_another_format(variant),
        "repeats": len(readings),
        "fits": all(reading.fits for reading in readings),
        **figures.median(skipna=False),
        "lowest": pace.min(skipna=False),
        "highest": pace.max(skipna=False),
        "details": details.to_dict(),
        "refill_pack_steps": details.get("refill_pack_steps", nan),
        "seconds_per_trial": TRIAL_STEPS * tokens / pace.median(skipna=False),
    }


def losses(table: pd.DataFrame) -> list[str]:
    """Return a sentence for every cell and pack in which another way was faster than ours."""
    found = []
    for cell, rows in table.groupby(level=0, sort=False):
        others = rows[rows["kind"].isin((TRAINER, GENERATE, PROCESSES)) & rows["fits"]]
        rival = others.nlargest(1, "tokens_per_second").squeeze()
        for pack in rows[rows["kind"].isin(PACKED) & (not others.empty)].itertuples():
            share = pack.tokens_per_second / rival["tokens_per_second"]
            if not pack.fits:
                found.append(f"{cell}: {pack.variant} did not fit, {rival['variant']} did")
            elif share < 1:
                found.append(f"{cell}: {pack.variant} has {share:.2f}x the pace of {rival['variant']}")
    return found
