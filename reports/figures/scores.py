"""Plots of scores with their intervals: all ranked trials, and those that may be the best."""

from collections.abc import Sequence
from typing import Any

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, RankedTrial
from loratory.reports.figures.figure import Figure, base_line, layout, text
from loratory.reports.findings import Interval

MOST_SCORES = 15
"""Largest number of trials in the plot of scores; the table of the report has all."""
MOST_MEMBERS = 10
"""Largest number of trials in the plot of those that may be best, which the first screen has to hold."""


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
        points["error_x"] = _error_bars([trial.value for trial in shown], [t.interval for t in shown])
    drawn = layout(x=formatting.label(report.study.metric), y="")
    drawn["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    drawn["xaxis"]["range"] = _padded(report, shown)
    drawn["height"] = max(260, 110 + 26 * len(shown))
    data = [points, *base_line(report, ys=names, vertical=True)]
    return Figure(name="scores", title="Scores", note=_scores_note(report, shown), data=data, layout=drawn)


def _scores_note(report: ComparisonReport, shown: Sequence[RankedTrial]) -> str:
    parts = []
    if len(shown) < len(report.ranking):
        parts.append(f"The best {len(shown)} of {len(report.ranking)}.")
    if report.uncertainty and any(trial.interval for trial in shown):
        parts.append(f"Bars: {report.uncertainty.level:.0%} intervals.")
    if picked := next((trial for trial in shown if trial.picked and trial.interval), None):
        parts.append(f"That of trial {picked.number} allows for its having been picked.")
    bare = [str(trial.number) for trial in shown if trial.interval is None]
    if bare and len(bare) < len(shown):
        parts.append(
            f"Without a bar: trial{'s' * (len(bare) > 1)} {', '.join(bare)}; why stands below the table."
        )
    return " ".join(parts)


def set_figure(report: ComparisonReport) -> Figure | None:
    """Plot the trials that may be best by their difference to the published one, paired, with intervals."""
    found = report.findings
    if found is None or len(found.may_be_best) < 2:
        return None
    shown = found.may_be_best[:MOST_MEMBERS]
    # `behind` counts from the published trial, the plot to the right for what is better.
    ahead = [-member.behind for member in shown]
    turned = [
        Interval(low=-i.high, high=-i.low) if (i := member.behind_interval) else None for member in shown
    ]
    points: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": ahead,
        "y": [f"trial {member.shown}" for member in shown],
        "marker": {
            "color": ["--best" if member.key == found.published else "--complete" for member in shown],
            "size": 10,
        },
        "error_x": _error_bars(ahead, turned),
        "hovertemplate": "%{y}: %{x:+.4f}<extra></extra>",
    }
    metric = text(formatting.label(report.study.metric))
    drawn = layout(x=f"{metric} against trial {found.published_shown}", y="")
    drawn["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    drawn["xaxis"] |= {"zeroline": True, "zerolinecolor": "--muted", "nticks": 7}
    drawn["height"] = 84 + 24 * len(shown)
    drawn["margin"] |= {"t": 4}
    note = f"The first {len(shown)} of {len(found.may_be_best)}. " if shown != found.may_be_best else ""
    note += (
        "To the right is better. "
        f"Bars: 95% intervals of the difference on select, paired over {found.units} {found.unit}s."
        if found.units > 1
        else f"One {found.unit} alone says nothing about chance: no intervals."
    )
    title = "Trials that may be best"
    return Figure(name="set", title=title, note=note, data=[points], layout=drawn)


def _padded(report: ComparisonReport, shown: Sequence[RankedTrial]) -> list[float]:
    """Return a range that covers all points, intervals and the base, with a margin at both ends."""
    held = [end for trial in shown if (i := trial.interval) for end in (i.low, i.high)]
    held += [trial.value for trial in shown]
    held += (
        [report.base.metrics[m]] if report.base and (m := report.study.metric) in report.base.metrics else []
    )
    room = 0.06 * (max(held) - min(held)) or 0.05
    return [min(held) - room, max(held) + room]


def _error_bars(values: Sequence[float], intervals: Sequence[Interval | None]) -> dict[str, Any]:
    pairs = list(zip(values, intervals, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, i.high - value) if i else 0.0 for value, i in pairs],
        "arrayminus": [max(0.0, value - i.low) if i else 0.0 for value, i in pairs],
        "color": "--muted",
        "thickness": 1.4,
        "width": 4,
    }
