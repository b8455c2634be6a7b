"""Plots of learning curves, on a scale that a few diverged trials do not flatten."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from loratory.objectives.records import TrialState
from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, PlotPoint, TrialCurves
from loratory.reports.figures.figure import Figure, layout, line
from loratory.reports.interval_words import DEV
from loratory.reports.ranking import sign

MOST_CURVES = 120
"""Largest number of trials in a plot of curves."""
_UNRANKED = 40
"""Number of them that are kept for trials without a rank, if there are so many."""
_FAR, _MOST = 5.0, 2 / 3
"""Median absolute deviations from which a curve ends far from the others, and share that always counts."""
_RARE, _FENCE = 0.01, 3.0
"""Share of points that are rare, and interquartile ranges beyond them from which they are far out."""
_WORTH_IT = 1.5
"""A scale leaves values out only if all of them would take so many times its height."""


def dev_figure(report: ComparisonReport) -> Figure | None:
    """Plot the metric on eval.dev by the nominal grid, one line per trial."""
    drawn = layout(x="evaluation", y=f"{formatting.label(report.study.metric)} on eval.dev")
    drawn["xaxis"] |= {"dtick": max(1, report.study.evaluations // 10)}
    note = f"One line a trial, at equal fractions of its own schedule. {DEV}"
    worse = -sign(report.study.direction)
    return _curve_figure(report, "dev", title="Learning curves", note=note, drawn=drawn, worse=worse)


def loss_figure(report: ComparisonReport) -> Figure | None:
    """Plot the training loss by tokens seen, one line per trial."""
    drawn = layout(x="training tokens seen", y="training loss")
    note = "Means over runs of equally many optimiser steps."
    return _curve_figure(report, "loss", title="Training loss", note=note, drawn=drawn, worse=1.0)


def _curve_figure(
    report: ComparisonReport, which: str, *, title: str, note: str, drawn: dict[str, Any], worse: float
) -> Figure | None:
    held = [curves for curves in report.curves if getattr(curves, which)]
    shown = _drawn(held, report)
    if not shown:
        return None
    if len(shown) < len(report.curves):
        note += f" {len(shown)} of {len(report.curves)} trials are drawn."
    points = {curves.number: getattr(curves, which) for curves in shown}
    data = [_curve(curves, points[curves.number], report) for curves in shown]
    for axis in ("xaxis", "yaxis"):
        drawn[axis] |= {"fixedrange": False}
    drawn["dragmode"] = "zoom"
    whole: dict[str, Any] = {}
    if scale := robust_scale(list(points.values()), worse=worse):
        low, high = scale
        drawn["yaxis"]["range"] = list(scale)
        outside = [n for n, own in points.items() if any(not low <= point.y <= high for point in own)]
        marks = _marks(points, scale)
        data.append(marks)
        every = [point.y for own in points.values() for point in own]
        room = 0.05 * (max(every) - min(every))
        whole = {"yaxis.range": [min(every) - room, max(every) + room]}
        note += f" {_named(outside)} beyond this scale, marked with triangles."
    return Figure(name=which, title=title, note=note, data=data, layout=drawn, zooms=True, whole=whole)


def robust_scale(curves: Sequence[Sequence[PlotPoint]], *, worse: float) -> tuple[float, float] | None:
    """Return a range of y for the curves that end near most others; None where all fit on one scale.

    A curve is left out if the median of its second half is far on the worse side: by more than five median
    absolute deviations of the better half of the curves, and than two thirds of all. Of the points of the
    others, the highest and lowest are left out if they are rare and far out.

    Args:
        curves: points of each curve.
        worse: 1 if larger values are worse, else -1.
    """
    # Larger is worse from here on.
    values = [worse * np.array([point.y for point in own]) for own in curves]
    levels = np.array([np.median(own[len(own) // 2 :]) for own in values])
    distances = levels - np.median(levels)
    far = _FAR * np.median(np.abs(distances[distances <= 0]))
    near = distances <= max(far, np.quantile(np.abs(distances), _MOST))
    every, usual = np.concatenate(values), np.concatenate([v for v, n in zip(values, near, strict=True) if n])
    lower, upper, rare = np.quantile(usual, [0.25, 0.75, 1 - _RARE])
    best, worst = every.min(), usual[usual <= rare + _FENCE * (upper - lower)].max()
    if not worst > best or every.max() - best < _WORTH_IT * (worst - best):
        return None
    room = 0.05 * (worst - best)
    low, high = sorted((float(worse * (best - room)), float(worse * (worst + room))))
    return low, high


def _marks(points: dict[int, Sequence[PlotPoint]], scale: tuple[float, float]) -> dict[str, Any]:
    """Return the marks of values beyond the scale, at its edges: the furthest of each run of points."""
    low, high = scale
    edge = 0.02 * (high - low)
    marks: list[tuple[float, float, str, str]] = []
    for number, own in points.items():
        sides = [(point.y > high) - (point.y < low) for point in own]
        for place, side in enumerate(sides):
            if side and (place == 0 or sides[place - 1] != side):
                stop = next((i for i in range(place, len(own)) if sides[i] != side), len(own))
                furthest = max(own[place:stop], key=lambda point: side * point.y)
                y, symbol = (high - edge, "triangle-up") if side > 0 else (low + edge, "triangle-down")
                marks.append((furthest.x, y, symbol, f"trial {number}: {furthest.y:.4g}"))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "beyond the scale",
        "x": [mark[0] for mark in marks],
        "y": [mark[1] for mark in marks],
        "text": [mark[3] for mark in marks],
        "marker": {"symbol": [mark[2] for mark in marks], "size": 9, "color": "--muted"},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _named(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"Trial {numbers[0]} has values"
    if len(numbers) > 6:
        return f"{len(numbers)} trials have values"
    ordered = sorted(numbers)
    return f"Trials {', '.join(map(str, ordered[:-1]))} and {ordered[-1]} have values"


def _drawn(curves: Sequence[TrialCurves], report: ComparisonReport) -> list[TrialCurves]:
    """Select the curves to draw, also of trials without a rank; the best comes last, so that it is on top."""
    rank = {trial.number: trial.rank for trial in report.ranking}
    ranked = sorted((c for c in curves if c.number in rank), key=lambda c: rank[c.number])
    others = sorted((c for c in curves if c.number not in rank), key=lambda c: -c.number)
    kept = others[: max(_UNRANKED, MOST_CURVES - len(ranked))]
    return [*kept[::-1], *ranked[: MOST_CURVES - len(kept)][::-1]]


def _curve(curves: TrialCurves, points: Sequence[PlotPoint], report: ComparisonReport) -> dict[str, Any]:
    best = report.best is not None and curves.number == report.best.number
    complete = curves.state is TrialState.COMPLETE
    trace = line(
        f"trial {curves.number}",
        [point.x for point in points],
        [point.y for point in points],
        color="--best" if best else "--complete" if complete else "--dimmed",
        width=3.0 if best else 1.6,
        dash="solid" if complete else "dot",
    )
    state = "" if complete else f", {formatting.state(curves.state)}"
    return trace | {
        "mode": "lines+markers" if len(points) < 30 else "lines",
        "marker": {"size": 6 if best else 4},
        "opacity": 1.0 if best else 0.75 if complete else 0.6,
        "hovertemplate": f"trial {curves.number}{state}: %{{y:.4f}}<extra></extra>",
    }
