"""The report's plots as plotly figures, drawn from a computed comparison.

Colours are names of style variables (`--best`) that the page's script replaces, so that one figure serves
the light and the dark theme.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loratory.objectives.records import TrialState
from loratory.reports import formatting
from loratory.reports.comparison_report import (
    ComparisonReport,
    ParameterFacts,
    PlotPoint,
    RankedTrial,
    TrialCurves,
)
from loratory.reports.ranking import sign

MOST_CURVES = 120
"""Largest number of trials in a plot of curves: the best ones, then the latest of the others."""
MOST_SCORES = 15
"""Largest number of trials in the plot of scores; the table of the report has all."""

_EACH_TICK = 10
"""Span of trial numbers in which each number has a tick."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One plot.

    Attributes:
        name: id of the element, unique in the report.
        title: content in a few words.
        note: how to read the plot.
        data: plotly traces.
        layout: plotly layout.
    """

    name: str
    title: str
    note: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


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
    layout = _layout(x=formatting.label(report.study.metric), y="")
    layout["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    layout["xaxis"]["range"] = _padded(report, shown)
    layout["height"] = max(260, 110 + 26 * len(shown))
    data = [points, *_base_line(report, ys=names, vertical=True)]
    more = len(report.ranking) - len(shown)
    note = f"The best {len(shown)} of {len(report.ranking)}. " if more else ""
    note += f"Bars: {report.uncertainty.level:.0%} bootstrap intervals." if report.uncertainty else ""
    return Figure(name="scores", title="Scores", note=note, data=data, layout=layout)


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
    layout = _layout(x=f"better by, {metric} on select, against trial {found.published_shown}", y="")
    layout["yaxis"] |= {"type": "category", "range": [len(shown) - 0.5, -0.5]}
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": "--muted"}
    layout["height"] = 96 + 26 * len(shown)
    more = len(found.may_be_best) - len(shown)
    note = f"The first {len(shown)} of {len(found.may_be_best)}. " if more else ""
    note += f"Bars: 95% intervals of the difference, paired over {found.units} {found.unit}s."
    return Figure(name="set", title="What may be the best", note=note, data=[points], layout=layout)


def history_figure(report: ComparisonReport) -> Figure | None:
    """Plot scores by trial number, with the best so far."""
    trials = sorted(report.ranking, key=lambda trial: trial.number)
    if not trials:
        return None
    numbers, values = [t.number for t in trials], [t.value for t in trials]
    data = [
        _line("best so far", numbers, _best_so_far(report, values), color="--best", shape="hv"),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trial",
            "x": numbers,
            "y": values,
            "marker": {"color": "--complete", "size": 8},
            "hovertemplate": "trial %{x}: %{y:.4f}<extra></extra>",
        },
        *_base_line(report, xs=[min(numbers), max(numbers)]),
    ]
    layout = _layout(x="trial", y=formatting.label(report.study.metric))
    if numbers[-1] - numbers[0] < _EACH_TICK:
        layout["xaxis"]["dtick"] = 1  # no trial 0.2
    note = "Complete trials only: pruned ones were measured on other examples, after less training."
    return Figure(name="history", title="Over the search", note=note, data=data, layout=layout)


def dev_figure(report: ComparisonReport) -> Figure | None:
    """Plot the metric on eval.dev by the nominal grid, one line per trial."""
    layout = _layout(x="evaluation", y=f"{formatting.label(report.study.metric)} on eval.dev")
    layout["xaxis"] |= {"dtick": max(1, report.study.evaluations // 10)}
    note = "One line a trial, at equal fractions of its own schedule."
    return _curve_figure(report, "dev", title="Learning curves", note=note, layout=layout)


def loss_figure(report: ComparisonReport) -> Figure | None:
    """Plot the training loss by tokens seen, one line per trial."""
    layout = _layout(x="training tokens seen", y="training loss")
    note = "Means over runs of equally many optimiser steps."
    return _curve_figure(report, "loss", title="Training loss", note=note, layout=layout)


def importance_figure(report: ComparisonReport) -> Figure | None:
    """Plot the importance of parameters as bars."""
    shares = report.importance.shares
    if not shares:
        return None
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": list(shares.values()),
        "y": list(shares),
        "marker": {"color": "--complete"},
        "text": [f"{share:.0%}" for share in shares.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    layout = _layout(x="share", y="")
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    layout["xaxis"] |= {"tickformat": ".0%", "range": [0, 1.08 * max(shares.values())]}
    layout["height"] = 100 + 34 * len(shares)
    note = report.importance.note
    return Figure(name="importance", title="What decided", note=note, data=[bars], layout=layout)


def slice_figures(report: ComparisonReport) -> list[Figure]:
    """Plot scores by the values of each parameter."""
    if not report.ranking:
        return []
    return [figure for p in report.study.parameters if (figure := _slice_figure(report, p)) is not None]


def _slice_figure(report: ComparisonReport, parameter: ParameterFacts) -> Figure | None:
    trials = [trial for trial in report.ranking if parameter.name in trial.params]
    if not trials:
        return None
    values = [trial.params[parameter.name] for trial in trials]
    categorical = parameter.kind == "categorical"
    data = {
        "type": "scatter",
        "mode": "markers",
        "x": [_text(value) for value in values] if categorical else values,
        "y": [trial.value for trial in trials],
        "text": [f"trial {trial.number}" for trial in trials],
        "marker": {"size": 9, "color": ["--best" if t is report.best else "--complete" for t in trials]},
        "hovertemplate": "%{text}: %{y:.4f} at %{x}<extra></extra>",
    }
    layout = _layout(x=_text(parameter.name), y=formatting.label(report.study.metric))
    layout["height"] = 260
    if categorical:
        order = [_text(choice) for choice in parameter.choices]
        layout["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    elif parameter.log:
        ticks = log_ticks(min(values), max(values))
        texts = [f"{tick:.0e}".replace("e-0", "e-") if tick < 0.01 else f"{tick:g}" for tick in ticks]
        layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": texts, "tickangle": 0}
    name = f"slice-{report.study.parameters.index(parameter)}"
    return Figure(name=name, title=parameter.name, note="", data=[data], layout=layout)


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis: powers of ten; if these are few, also their doubles and halves."""
    first, last, decades = math.floor(math.log10(low)), math.ceil(math.log10(high)), math.log10(high / low)
    steps = (1,) if decades > 2.2 else (1, 3) if decades > 1.3 else (1, 2, 5)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]


def _curve_figure(
    report: ComparisonReport, which: str, *, title: str, note: str, layout: dict[str, Any]
) -> Figure | None:
    shown = _drawn([curves for curves in report.curves if getattr(curves, which)], report)
    if not shown:
        return None
    if len(shown) < len(report.curves):
        note += f" {len(shown)} of {len(report.curves)} trials are drawn."
    data = [_curve(curves, getattr(curves, which), report) for curves in shown]
    return Figure(name=which, title=title, note=note, data=data, layout=layout)


def _drawn(curves: Sequence[TrialCurves], report: ComparisonReport) -> list[TrialCurves]:
    """Select the curves to draw; the best trial comes last, so that it is on top."""
    rank = {trial.number: trial.rank for trial in report.ranking}
    preferred = sorted(curves, key=lambda c: (rank.get(c.number, len(rank) + 1), -c.number))[:MOST_CURVES]
    return preferred[::-1]


def _curve(curves: TrialCurves, points: Sequence[PlotPoint], report: ComparisonReport) -> dict[str, Any]:
    best = report.best is not None and curves.number == report.best.number
    complete = curves.state is TrialState.COMPLETE
    trace = _line(
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


def _line(name: str, x: Sequence[Any], y: Sequence[Any], *, color: str, **line: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": color, **line},
    }


def _base_line(
    report: ComparisonReport,
    *,
    xs: Sequence[Any] = (),
    ys: Sequence[Any] = (),
    vertical: bool = False,
) -> list[dict[str, Any]]:
    base = report.base.metrics.get(report.study.metric) if report.base else None
    if base is None:
        return []
    x, y = ([base] * len(ys), ys) if vertical else (xs, [base] * len(xs))
    # One point makes no line.
    trace = _line("untuned base", x, y, color="--base", dash="dash", width=1.6)
    hover = "untuned base: %{x:.4f}" if vertical else "untuned base: %{y:.4f}"
    return [
        trace | {"mode": "lines" if len(x) > 1 else "markers", "hovertemplate": hover + "<extra></extra>"}
    ]


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


def _best_so_far(report: ComparisonReport, values: Sequence[float]) -> list[float]:
    better = sign(report.study.direction)
    best: list[float] = []
    for value in values:
        best.append(max(value, best[-1], key=lambda v: better * v) if best else value)
    return best


def _layout(*, x: str, y: str) -> dict[str, Any]:
    axis = {
        "gridcolor": "--grid",
        "linecolor": "--grid",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    return {
        "height": 340,
        "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "--muted"},
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--grid", "font": {"color": "--ink"}},
        "xaxis": axis | {"title": {"text": x}},
        "yaxis": axis | {"title": {"text": y}},
    }


def _text(value: Any) -> str:
    # Plotly interprets some HTML in labels; users' names must stay unchanged.
    return html.escape(formatting.parameter(value), quote=False)
