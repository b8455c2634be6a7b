"""Scores of decoded text: BLEU, chrF, ROUGE, token F1, exact match, accuracy and macro F1, all offline."""

from typing import TYPE_CHECKING, Any

from loratory.objectives.metrics.scoring import (
    TextScores,
    aggregate_from_statistics,
    score_texts,
    text_metric,
)

if TYPE_CHECKING:
    from loratory.objectives.metrics.evaluate_metrics import EvaluateMetric

__all__ = ["TextScores", "aggregate_from_statistics", "load_metric", "score_texts"]


def load_metric(name: str, **options: Any) -> "EvaluateMetric":
    """Return one metric as an `evaluate.Metric`; the first call imports `evaluate`, which takes seconds.

    Args:
        name: a metric of decoded text, such as `rougeL`.
        options: options of `evaluate.Metric`.

    Raises:
        InputError: there is no such metric; said before the import.
    """
    text_metric(name)
    from loratory.objectives.metrics.evaluate_metrics import EvaluateMetric

    return EvaluateMetric(name, **options)
