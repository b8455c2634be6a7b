"""Learning curves of all trials, thinned so that a report of a large study stays small."""

from collections.abc import Iterable, Sequence

import numpy as np

from loratory.objectives.records import CurvePoint, TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import PlotPoint, TrialCurves
from loratory.reports.ranking import is_finite

POINTS = 120
"""Points kept of a training-loss curve."""


def trial_curves(folder: StudyFolder, records: Iterable[TrialRecord], metric: str) -> tuple[TrialCurves, ...]:
    """The curves of every trial that has any.

    Args:
        folder: where the training curves lie.
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
    """Training loss by tokens seen: means over at most `points` runs of equally many steps.

    A mean and not every k-th step, because single steps are noisy and picking some shows noise as trend.
    """
    finite = [step for step in steps if is_finite(step.loss)]
    if not finite:
        return ()
    tokens = np.array([step.tokens_seen for step in finite], dtype=np.float64)
    losses = np.array([step.loss for step in finite], dtype=np.float64)
    pieces = np.array_split(np.arange(len(finite)), min(points, len(finite)))
    return tuple(PlotPoint(x=float(tokens[p].mean()), y=float(losses[p].mean())) for p in pieces)
