"""What a W&B run says of a trial. Plain values, computed from the records; imports no wandb."""

from typing import Any

from loratory.objectives.records import CurvePoint, Measurement, TrialRecord
from loratory.objectives.scores import Prediction
from loratory.spaces.study import StudySpec

TRAIN_AXIS, DEV_AXIS = "optimizer_step", "evaluation"
AXES = {"train/*": TRAIN_AXIS, "dev/*": DEV_AXIS}
TABLE = "predictions"
TABLE_COLUMNS = ("example_id", "group", "prompt", "reference", "prediction")


def run_config(study: StudySpec, record: TrialRecord) -> dict[str, Any]:
    """Hyperparameters at the top, as people filter by them, and what the trial ran on below.

    Args:
        study: the study.
        record: the trial.
    """
    settings = study.model_dump(mode="json", include={"objective", "metric", "model", "data", "evaluation"})
    return {
        **record.params,
        **study.resolve(record.params).model_dump(mode="json"),
        **settings,
        "direction": study.metric_direction.value,
        "searched": sorted(record.params),
        "study": study.name,
        "study_uuid": record.study,
        "number": record.number,
        "seed": record.provenance.seed,
        "versions": record.provenance.versions,
        "hashes": record.provenance.hashes,
        "git": record.provenance.git,
    }


def history_row(item: CurvePoint | Measurement) -> dict[str, float]:
    """One row of a run's history, with its x axis among the values."""
    if isinstance(item, CurvePoint):
        values = item.model_dump(exclude={"optimizer_step"})
        return {TRAIN_AXIS: item.optimizer_step} | {f"train/{name}": v for name, v in values.items()}
    seen = item.model_dump(exclude={"step", "metrics"})
    values = seen | item.metrics
    return {DEV_AXIS: item.step} | {f"dev/{name}": value for name, value in values.items()}


def final_summary(record: TrialRecord) -> dict[str, Any]:
    """How a trial ended; values that it has not are left out."""
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
    """Cells of the table of predictions, in the split's order.

    Args:
        predictions: what the trial's best adapter answered.
        most: rows to keep.
    """
    return [[getattr(p, column) for column in TABLE_COLUMNS] for p in predictions[: max(0, most)]]
