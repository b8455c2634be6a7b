"""Learning curves of all trials, thinned to keep reports of large studies small."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import TypeAdapter

from loratory.objectives.records import CurvePoint, TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import PlotPoint, TrialCurves
from loratory.reports.ranking import is_finite

_POINTS = TypeAdapter(tuple[PlotPoint, ...])
POINTS = 120
"""Largest number of points of a training-loss curve."""


def trial_curves(folder: StudyFolder, records: Iterable[TrialRecord], metric: str) -> tuple[TrialCurves, ...]:
    """Return the curves of every trial that has any.

    Args:
        folder: study folder with the training curves.
        records: the trials.
        metric: the study's metric, on eval.dev.
    """
    every = (_curves(folder, record, metric) for record in records)
    return tuple(curves for curves in every if curves.dev or curves.loss)


def _curves(folder: StudyFolder, record: TrialRecord, metric: str) -> TrialCurves:
    dev = (
        PlotPoint(x=m.step, y=m.metrics[metric])
        for m in record.measurements
        if metric in m.metrics and is_finite(m.metrics[metric])
    )
    return TrialCurves(
        number=record.row,
        state=record.state,
        dev=tuple(dev),
        loss=thinned(folder.read_curve(record.key)),
    )


def thinned(steps: Sequence[CurvePoint], points: int = POINTS) -> tuple[PlotPoint, ...]:
    """Compute training loss by tokens seen: means over at most `points` blocks of equally many steps.

    Means are used instead of every k-th step, because a selection of noisy steps can look like a trend.
    """
    finite = [step for step in steps if is_finite(step.loss)]
    if not finite:
        return ()
    tokens = np.array([step.tokens_seen for step in finite], dtype=np.float64)
    losses = np.array([step.loss for step in finite], dtype=np.float64)
    blocks = min(points, len(finite))
    # Blocks as `np.array_split` has them: the first ones have one step more.
    sizes = np.full(blocks, len(finite) // blocks)
    sizes[: len(finite) % blocks] += 1
    starts = np.cumsum(sizes) - sizes
    x, y = (np.add.reduceat(values, starts) / sizes for values in (tokens, losses))
    return _POINTS.validate_python([{"x": a, "y": b} for a, b in zip(x.tolist(), y.tolist(), strict=True)])
