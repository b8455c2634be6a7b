"""The ranking of trials: by state first, and never by value alone."""

import math
from collections.abc import Sequence
from typing import Any

from loratory.objectives.records import TrialRecord, TrialState, listing_order
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, StudyFolder
from loratory.reports.comparison_report import RankedTrial, UnrankedTrial
from loratory.reports.intervals import GAIN, Intervals
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import parse_retraining_key

_NO_INTERVALS = Intervals()
NOT_THERE = "its files are not in the study folder"
"""Why an adapter is gone that loratory did not delete."""


def is_finite(value: Any) -> bool:
    """Return whether a value, a list or a mapping holds no NaN and no infinity."""
    if isinstance(value, dict):
        return all(is_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def sign(direction: Direction) -> float:
    """Return 1 if larger values are better, else -1."""
    return 1.0 if direction is Direction.MAXIMIZE else -1.0


def why_unranked(record: TrialRecord) -> str | None:
    """Return the reason why a trial has no place; None if it has one."""
    if record.state is not TrialState.COMPLETE:
        return record.reason or (record.error.message if record.error else "") or _WHY[record.state]
    if not record.values:
        return "complete, but its record holds no value"
    for name, content in (("value", record.values), ("metrics", record.metrics), ("params", record.params)):
        if not is_finite(content):
            return f"complete, but its {name} must be finite to be ranked, got {content}"
    return None


_WHY = {
    TrialState.RUNNING: "not finished",
    TrialState.PAUSED: "paused",
    TrialState.PRUNED: "stopped early by the pruner",
    TrialState.FAIL: "failed",
    TrialState.INFEASIBLE: "fits no worker",
}


def order(records: Sequence[TrialRecord], direction: Direction) -> list[TrialRecord]:
    """Return the rankable records, best first; equal values keep the order of their numbers.

    Optuna gives a PRUNED trial its last intermediate value, which comes from other examples and less
    training. Such values are never ranked.
    """
    ranked = [record for record in records if why_unranked(record) is None]
    return sorted(ranked, key=lambda record: (-sign(direction) * _value(record), listing_order(record)))


def ranked_trial(
    record: TrialRecord,
    *,
    rank: int,
    metric: str,
    direction: Direction,
    base_value: float | None,
    found: Intervals,
    folder: StudyFolder,
) -> RankedTrial:
    """Return the facts of a record with its place.

    Args:
        record: a COMPLETE trial.
        rank: its place, from 1.
        metric: the study's metric.
        direction: which values are better.
        base_value: value of the untuned base, if it was scored.
        found: intervals on eval.select.
        folder: study folder with its adapter.
    """
    scored = scored_facts(
        record, metric=metric, direction=direction, base_value=base_value, found=found, folder=folder
    )
    return RankedTrial(**scored, rank=rank)


def scored_facts(
    record: TrialRecord,
    *,
    metric: str,
    direction: Direction,
    base_value: float | None,
    folder: StudyFolder,
    found: Intervals = _NO_INTERVALS,
) -> dict[str, Any]:
    """Return the fields of `ScoredTrial` of a COMPLETE record.

    Args:
        record: a COMPLETE trial or retraining.
        metric: the study's metric.
        direction: which values are better.
        base_value: value of the untuned base, if it was scored.
        folder: study folder with its adapter.
        found: intervals on eval.select.
    """
    value = _value(record)
    intervals, missing = dict(found.of.get(record.key, {})), dict(found.missing.get(record.key, {}))
    removed = why_removed(folder, record)
    kept = record.adapter is not None and removed is None
    return {
        **_facts(record, metric, direction),
        "reason": _reason(record, removed),
        "value": value,
        "interval": intervals.get(metric),
        "gain": None if base_value is None else sign(direction) * (value - base_value),
        "gain_interval": None if base_value is None else found.gains.get(record.key),
        "metrics": record.metrics,
        "intervals": intervals,
        "no_interval": {name: why for name, why in missing.items() if name != GAIN or base_value is not None},
        "best_step": record.adapter.step if record.adapter else None,
        "adapter": folder.adapter(record.key).relative_to(folder.path).as_posix() if kept else None,
        "adapter_removed": removed,
        "adapter_sha256": record.adapter.sha256 if record.adapter else None,
        "adapter_bytes": record.adapter.size_bytes if record.adapter else None,
    }


def why_removed(folder: StudyFolder, record: TrialRecord) -> str | None:
    """Return why the adapter that a trial kept is not in the study folder any more; None if it is there."""
    if record.adapter is None:
        return None
    if record.adapter.removed is not None:
        return record.adapter.removed
    files = (folder.adapter(record.key) / name for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG))
    return None if all(file.is_file() for file in files) else NOT_THERE


def _reason(record: TrialRecord, removed: str | None) -> str:
    if removed is None:
        return record.reason
    return f"{record.reason}; adapter {'missing' if removed == NOT_THERE else 'deleted'}: {removed}"


def unranked_trial(record: TrialRecord, reason: str, *, metric: str, direction: Direction) -> UnrankedTrial:
    """Return the facts of a record without a place, with the reason."""
    return UnrankedTrial(
        **_facts(record, metric, direction),
        reason=reason,
        failure=record.error.kind if record.error and record.state is TrialState.FAIL else None,
    )


def _value(record: TrialRecord) -> float:
    assert record.values is not None
    return record.values[0]


def _facts(record: TrialRecord, metric: str, direction: Direction) -> dict[str, Any]:
    dev = [m.metrics[metric] for m in record.measurements if is_finite(m.metrics.get(metric, math.nan))]
    return {
        "key": record.key,
        "number": parse_retraining_key(record.key)[0] if record.retrained else record.row,
        "state": record.state,
        "params": record.params
        if is_finite(record.params)
        else {k: str(v) for k, v in record.params.items()},
        "seed": record.provenance.seed,
        "attempt": record.attempt,
        "evaluations": len(record.measurements),
        "best_dev_value": max(dev, key=lambda value: sign(direction) * value) if dev else None,
        "elapsed_seconds": record.measurements[-1].elapsed_seconds if record.measurements else None,
        "device": record.resources.device,
        "device_seconds": record.resources.gpu_seconds_attributed,
        "peak_memory_bytes": record.resources.peak_memory_bytes_pack,
        "pack_size": record.resources.pack_size,
    }
