"""Sample answers of the best trial and the untuned base, on examples drawn by hash."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from loratory.objectives.scores import Prediction, ScoreTable, predictions_from_bytes
from loratory.objectives.study_folder import PREDICTIONS
from loratory.objectives.versions import fault
from loratory.reports.comparison_report import Sample, SampleAnswer
from loratory.spaces.errors import LoratoryError

LONGEST_TEXT = 2000
"""Largest number of characters shown of a text."""


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """Read the predictions in the folder of a trial or the base, by example id; empty if there are none.

    Raises:
        LoratoryError: the file is damaged.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        return {}
    try:
        return {p.example_id: p for p in predictions_from_bytes(path.read_bytes())}
    except (ValueError, TypeError) as error:
        raise LoratoryError(f"{path}: must be predictions, is damaged: {fault(error)}") from error


def samples(
    best: Mapping[str, Prediction],
    base: Mapping[str, Prediction],
    *,
    tables: tuple[ScoreTable | None, ScoreTable | None] = (None, None),
    metric: str,
    count: int = 8,
) -> tuple[Sample, ...]:
    """Select examples by a hash of their ids: a fair draw that is the same each time.

    Args:
        best: predictions of the best trial by example id.
        base: predictions of the base; may be empty.
        tables: per-example scores of best and base.
        metric: the study's metric.
        count: number of examples.
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
        best=SampleAnswer(text=_cut(best.prediction), score=best_score),
        base=SampleAnswer(text=_cut(base.prediction), score=base_score) if base else None,
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
