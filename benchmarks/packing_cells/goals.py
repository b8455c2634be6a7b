"""The goals on one H200, and what was measured of them."""

from collections.abc import Mapping
from math import isnan
from typing import Any, NamedTuple

import pandas as pd


class Goal(NamedTuple):
    """A figure to reach: the largest in a column of `summarize`, in the rows of a pandas query.

    Attributes:
        targets: by shape.
        below: a query of the rows whose figure the first is divided by, if any.
        at_most: less is better.
    """

    name: str
    targets: Mapping[str, float]
    column: str
    rows: str
    below: str | None = None
    at_most: bool = False

    def outcome(self, shape: str, table: pd.DataFrame) -> dict[str, Any]:
        """Compare with the target of a shape; `value` and `met` are None where readings are missing."""
        value, target = table.query(self.rows)[self.column].max(), self.targets[shape]
        if self.below is not None:
            value /= table.query(self.below)[self.column].max()
        met = bool(value <= target if self.at_most else value >= target)
        known = {"value": None, "met": None} if isnan(value) else {"value": float(value), "met": met}
        return {"name": self.name, "shape": shape, "target": target, "at_most": self.at_most, **known}


def outcomes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return every goal for every shape in a table of `summarize`."""
    tables = dict(list(table.groupby("shape")))
    return [goal.outcome(shape, tables[shape]) for goal in GOALS for shape in goal.targets if shape in tables]


def _at(load: str, variant: str) -> str:
    return f"load == '{load}' and variant == '{variant}'"


def _both(target: float) -> dict[str, float]:
    return {"1b": target, "7b": target}


_PACE, _MEMORY, _TRAINER = "tokens_per_second", "device_memory_bytes", "against_trainer"
_PACK, _CEILING = _at("512", "ours-8"), {"1b": 0.55, "7b": 0.65}
_UNCACHED, _PROCESSES = _at("512", "ours-8-uncached"), _at("512", "processes-8")
_ANY_AT_8192 = "load == '8192' and kind == 'ours-' and not other_format"
_LARGE_PACK = "kind == 'ours-' and `count` * tokens >= 16384"
_DECODING, _GENERATE = _at("decode", "packed-decoding"), _at("decode", "generate")
_UNEVEN, _EVEN = _at("lognormal", "ours-8"), _at("1024", "ours-8")  # 1,091 tokens per step, and 1,024
GOALS = (
    Goal("ours-8 / trainer, 512 tokens", {"1b": 20, "7b": 10}, _TRAINER, _PACK),
    Goal("ours-8 / best of processes, 512", {"1b": 3, "7b": 2.5}, "against_processes", _PACK),
    Goal("memory of ours-8-uncached / processes-8, 512", _both(0.45), _MEMORY, _UNCACHED, _PROCESSES, True),
    Goal("best of ours / trainer, 8192", _both(1.2), _TRAINER, _ANY_AT_8192),
    Goal("share of the ceiling, packs of >= 16k tokens", _CEILING, "share_of_ceiling", _LARGE_PACK),
    Goal("packed decoding / generate in turn", {"1b": 6, "7b": 4}, _PACE, _DECODING, _GENERATE),
    Goal("ours-8, log-normal / fixed lengths", _both(0.7), _PACE, _UNEVEN, _EVEN),
    Goal("pack steps to refill a slot", _both(1), "refill_pack_steps", _PACK, at_most=True),
    Goal("ours-1 / trainer", {"tiny": 1}, _TRAINER, _at("512", "ours-1")),
)
