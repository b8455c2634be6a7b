"""Plots of scores with their intervals: all ranked trials, and those that may be the best."""

from collections.abc import Sequence
from typing import Any

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, RankedTrial
from loratory.reports.figures.figure import Figure, base_line, layout
from loratory.reports.findings import Interval

MOST_SCORES = 15
"""Largest number of trials in the plot of scores; the table of the report has all."""


def scores_figure(report: ComparisonReport) -> Figure | None:
    """Plot the score and interval of each ranked trial, best on top, and the base as a line."""
    shown = report.ranking[:MOST_SCORES]
    if not shown:
        return None
    names = [f"trial {trial.number}" for trial in shown]
    colours = ["--best", *["--complete"] * (len(shown) - 1)]
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "score",
        "x": [trial.value for trial in shown],
        "y": names,
        "marker": {"color": colours, "size": 10},
        "hovertemplate": "%{y}: %{x:.4f}<extra></extra>",
    }
    if any(trial.interval for trial in shown):
        points["error_x"] = _error_bars(shown)
    drawn = layout(x=formatting.label(report.study.metric), y="")
    drawn["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    drawn["xaxis"]["range"] = _padded(report, shown)
    drawn["height"] = max(260, 110 + 26 * len(shown))
    data = [points, *base_line(report, ys=names, vertical=True)]
    more = len(report.ranking) - len(shown)
    note = f"The best {len(shown)} of {len(report.ranking)}. " if more else ""
    note += f"Bars: {report.uncertainty.level:.0%} bootstrap intervals." if report.uncertainty else ""
    return Figure(name="scores", title="Scores", note=note, data=data, layout=drawn)


def set_figure(report: ComparisonReport) -> Figure | None:
    """Plot the trials that may be best by their difference to the published one, paired, with intervals."""
    found = report.findings
    if found is None or len(found.may_be_best) < 2:
        return None
    shown = found.may_be_best[:MOST_SCORES]
    # `behind` counts from the published trial, the plot to the right for what is better.
    ahead = [-member.behind for member in shown]
    intervals = [member.behind_interval for member in shown]
    names = [f"trial {member.shown}" for member in shown]
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": ahead,
        "y": names,
        "marker": {
            "color": ["--best" if member.key == found.published else "--complete" for member in shown],
            "size": 10,
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [-i.low - x if i else 0.0 for i, x in zip(intervals, ahead, strict=True)],
            "arrayminus": [x + i.high if i else 0.0 for i, x in zip(intervals, ahead, strict=True)],
            "color": "--muted",
            "thickness": 1.4,
            "width": 4,
        },
        "hovertemplate": "%{y}: %{x:+.4f}<extra></extra>",
    }
    metric = formatting.label(report.study.metric)
    drawn = layout(x=f"better by, {metric} on select, against trial {found.published_shown}", y="")
    drawn["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    drawn["xaxis"] |= {"zeroline": True, "zerolinecolor": "--muted"}
    drawn["height"] = 96 + 26 * len(shown)
    more = len(found.may_be_best) - len(shown)
    note = f"The first {len(shown)} of {len(found.may_be_best)}. " if more else ""
    note += f"Bars: 95% intervals of the difference, paired over {found.units} {found.unit}s."
    return Figure(name="set", title="What may be the best", note=note, data=[points], layout=drawn)


def _padded(report: ComparisonReport, shown: Sequence[RankedTrial]) -> list[float]:
    """Return a range that covers all points, intervals and the base, with a margin at both ends."""
    held = [end for trial in shown if (i := trial.interval) for end in (i.low, i.high)]
    held += [trial.value for trial in shown]
    held += (
        [report.base.metrics[m]] if report.base and (m := report.study.metric) in report.base.metrics else []
    )
    room = 0.06 * (max(held) - min(held)) or 0.05
    return [min(held) - room, max(held) + room]


def _error_bars(trials: Sequence[RankedTrial]) -> dict[str, Any]:
    pairs = [(t.value, t.interval) for t in trials]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, i.high - value) if i else 0.0 for value, i in pairs],
        "arrayminus": [max(0.0, value - i.low) if i else 0.0 for value, i in pairs],
        "color": "--muted",
        "thickness": 1.4,
        "width": 4,
    }


