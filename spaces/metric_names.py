"""The metrics that a study file may name: one row per metric, read by every other package."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Direction(StrEnum):
    """Which values of a metric are better, in Optuna's words."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Task(StrEnum):
    """The kind of answer: free text, or one of the labels in the training data."""

    GENERATION = "generation"
    CLASSIFICATION = "classification"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        direction: which values are better.
        label: its name in reports.
        scorer: `module:attribute` of the `TextMetric` class that computes it from decoded text; None: the
            objective computes it itself.
        default_for: tasks that report it where the study file lists no metrics.
        needs_labels: whether the task must be classification.
        largest: largest possible value, the smallest being 0; None where there is none.
    """

    direction: Direction = Direction.MAXIMIZE
    label: str
    scorer: str | None = None
    default_for: tuple[Task, ...] = ()
    needs_labels: bool = False
    largest: float | None = 1.0


_PACKAGE: Final = "loratory.objectives.metrics"
_TEXT: Final = (Task.GENERATION,)
_LABELS: Final = (Task.CLASSIFICATION,)

METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "loss": Metric(direction=Direction.MINIMIZE, label="loss", largest=None),
        "bleu": Metric(label="BLEU", scorer=f"{_PACKAGE}.bleu:Bleu", default_for=_TEXT, largest=100.0),
        "chrf": Metric(label="chrF", scorer=f"{_PACKAGE}.chrf:Chrf", default_for=_TEXT, largest=100.0),
        "rouge1": Metric(label="ROUGE-1", scorer=f"{_PACKAGE}.rouge:Rouge1", default_for=_TEXT),
        "rouge2": Metric(label="ROUGE-2", scorer=f"{_PACKAGE}.rouge:Rouge2", default_for=_TEXT),
        "rougeL": Metric(label="ROUGE-L", scorer=f"{_PACKAGE}.rouge:RougeL", default_for=_TEXT),
        "rougeLsum": Metric(label="ROUGE-Lsum", scorer=f"{_PACKAGE}.rouge:RougeLsum"),
        "token_f1": Metric(label="token F1", scorer=f"{_PACKAGE}.answers:TokenF1", default_for=_TEXT),
        "exact_match": Metric(
            label="exact match", scorer=f"{_PACKAGE}.answers:ExactMatch", default_for=_TEXT + _LABELS
        ),
        "rouge_score_1": Metric(label="ROUGE-1 (rouge_score)", scorer=f"{_PACKAGE}.rouge:PackageRouge1"),
        "rouge_score_2": Metric(label="ROUGE-2 (rouge_score)", scorer=f"{_PACKAGE}.rouge:PackageRouge2"),
        "rouge_score_L": Metric(label="ROUGE-L (rouge_score)", scorer=f"{_PACKAGE}.rouge:PackageRougeL"),
        "rouge_score_Lsum": Metric(
            label="ROUGE-Lsum (rouge_score)", scorer=f"{_PACKAGE}.rouge:PackageRougeLsum"
        ),
        "squad_f1": Metric(label="SQuAD F1", scorer=f"{_PACKAGE}.squad:SquadF1", largest=100.0),
        "squad_exact_match": Metric(
            label="SQuAD exact match", scorer=f"{_PACKAGE}.squad:SquadExactMatch", largest=100.0
        ),
        "accuracy": Metric(
            label="accuracy", scorer=f"{_PACKAGE}.labels:Accuracy", default_for=_LABELS, needs_labels=True
        ),
        "macro_f1": Metric(
            label="macro F1", scorer=f"{_PACKAGE}.labels:MacroF1", default_for=_LABELS, needs_labels=True
        ),
    }
)
"""Metrics by name. The order is that of reports."""


def default_metrics(task: Task) -> tuple[str, ...]:
    """Return what a study of this task reports where its file lists no metrics; those of labels first."""
    names = [name for name, metric in METRICS.items() if task in metric.default_for]
    return tuple(sorted(names, key=lambda name: not METRICS[name].needs_labels))


def within_range(name: str, *values: float) -> list[float]:
    """Return values of a metric, those outside its range moved to its ends; all as they are without one."""
    metric = METRICS.get(name)
    if metric is None:
        return list(values)
    return [max(0.0, value if metric.largest is None else min(value, metric.largest)) for value in values]
