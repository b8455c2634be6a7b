"""Content of a trial's W&B run: plain values, computed from the records. Imports no wandb."""

from pathlib import Path, PurePath
from typing import Any

from loratory.objectives.records import CurvePoint, Measurement, TrialRecord
from loratory.objectives.scores import Prediction
from loratory.reports.hub_ids import is_hub_id
from loratory.spaces.study import StudySpec

TRAIN_AXIS, DEV_AXIS = "optimizer_step", "evaluation"
AXES = {"train/*": TRAIN_AXIS, "dev/*": DEV_AXIS}
TABLE = "predictions"
TABLE_COLUMNS = ("example_id", "group", "prompt", "reference", "prediction")


def run_config(study: StudySpec, record: TrialRecord) -> dict[str, Any]:
    """Return the config of a run: hyperparameters at the top level, to filter by, then the other settings.

    Args:
        study: the study.
        record: the trial's record.
    """
    settings = study.model_dump(mode="json", include={"objective", "metric", "model", "data", "evaluation"})
    training = study.resolve(record.params)
    return {
        **record.params,
        **training.described(),
        **settings,
        **_without_folders(settings),
        "direction": study.metric_direction.value,
        "searched": sorted(record.params),
        "study": study.name,
        "study_uuid": record.study,
        "key": record.key,
        "number": record.number,
        "seed": record.provenance.seed,
        "versions": record.provenance.versions,
        "hashes": record.provenance.hashes,
        "git": record.provenance.git,
    }


def _without_folders(settings: dict[str, Any]) -> dict[str, Any]:
    """Return sections model and data with only the last part of every local path."""
    names = {"model": ("base",), "data": ("train", "eval", "test")}
    return {
        section: settings[section] | {n: _last_part(settings[section][n]) for n in keys}
        for section, keys in names.items()
        if settings[section] is not None
    }


def _last_part(name: str | None) -> str | None:
    # `owner/name:train[:5%]` names a Hub data set with a split.
    if name is None or name.startswith("builtin:"):
        return name
    source = name.partition(":")[0]
    return name if is_hub_id(source) and not Path(source).exists() else PurePath(name).name


def history_row(item: CurvePoint | Measurement) -> dict[str, float]:
    """Return one row of a run's history, with the value of its x axis."""
    if isinstance(item, CurvePoint):
        values = item.model_dump(exclude={"optimizer_step"})
        return {TRAIN_AXIS: item.optimizer_step} | {f"train/{name}": v for name, v in values.items()}
    seen = item.model_dump(exclude={"step", "metrics"})
    values = seen | item.metrics
    return {DEV_AXIS: item.step} | {f"dev/{name}": value for name, value in values.items()}


def final_summary(record: TrialRecord) -> dict[str, Any]:
    """Return the summary of a run: how the trial ended; missing values are left out."""
    summary: dict[str, Any] = {
        "state": record.state.value,
        "reason": record.reason,
        "attempt": record.attempt,
        "failures": len(record.failures),
        "value": record.values[0] if record.values else None,
        "error": f"{record.error.kind.value}: {record.error.message}" if record.error else None,
        "best_evaluation": record.adapter.step if record.adapter else None,
        "adapter_sha256": record.adapter.sha256 if record.adapter else None,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }
    summary |= record.resources.model_dump()
    summary |= {f"select/{name}": value for name, value in record.metrics.items()}
    return {name: value for name, value in summary.items() if value is not None}


def table_rows(predictions: list[Prediction], most: int) -> list[list[str]]:
    """Return the cells of the table of predictions, in the split's order.

    Args:
        predictions: the answers of the trial's best adapter.
        most: largest number of rows.
    """
    return [[getattr(p, column) for column in TABLE_COLUMNS] for p in predictions[: max(0, most)]]
