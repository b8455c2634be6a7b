"""What the best trial answers beside the untuned base, on examples that nobody picked."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from loratory.objectives.scores import Prediction, ScoreTable, predictions_from_bytes
from loratory.objectives.study_folder import PREDICTIONS
from loratory.reports.comparison_report import Answer, Sample
from loratory.spaces.errors import LoratoryError

LONGEST_TEXT = 2000
"""Characters of a text that are shown."""


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """Predictions kept in a trial's or the base's folder, by example id; empty where there are none.

    Raises:
        LoratoryError: the file is damaged.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        return {}
    try:
        return {p.example_id: p for p in predictions_from_bytes(path.read_bytes())}
    except (ValueError, TypeError) as error:
        raise LoratoryError(f"{path}: must be predictions, is damaged: {error}") from error


def samples(
    best: Mapping[str, Prediction],
    base: Mapping[str, Prediction],
    *,
    tables: tuple[ScoreTable | None, ScoreTable | None] = (None, None),
    metric: str,
    count: int = 8,
) -> tuple[Sample, ...]:
    """Examples in the order of a hash of their ids: the same each time, and a fair draw.

    Args:
        best: the best trial's predictions by example id.
        base: the base's, may be empty.
        tables: per-example scores of best and base.
        metric: the study's metric.
        count: how many.
    """
    scores = [_scores(table, metric) for table in tables]
    drawn = sorted(best, key=lambda i: hashlib.sha256(i.encode("utf-8", "surrogatepass")).hexdigest())[:count]
    return tuple(_sample(best[i], base.get(i), scores[0].get(i), scores[1].get(i)) for i in drawn)


def _sample(
    best: Prediction, base: Prediction | None, best_score: float | None, base_score: float | None
) -> Sample:
    return Sample(
        example_id=best.example_id,
        prompt=_cut(best.prompt),
        reference=_cut(best.reference),
        best=Answer(text=_cut(best.prediction), score=best_score),
        base=Answer(text=_cut(base.prediction), score=base_score) if base else None,
    )


def _scores(table: ScoreTable | None, metric: str) -> dict[str, float]:
    if table is None or metric not in table.metrics:
        return {}
    pairs = zip(table.example_ids, table.metrics[metric].tolist(), strict=True)
    return {example_id: score for example_id, score in pairs if math.isfinite(score)}


def _cut(text: str) -> str:
    # A lone surrogate cannot be written as UTF-8.
    text = text.encode("utf-8", "replace").decode()
    left_out = len(text) - LONGEST_TEXT
    return text if left_out <= 0 else f"{text[:LONGEST_TEXT]}… ({left_out} more characters)"
