"""Plots of the search: every trial by number and by the value of each parameter."""

from collections.abc import Callable, Sequence
from typing import Any

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, ParameterFacts, UnrankedTrial
from loratory.reports.figures.figure import Figure, base_line, layout, line, text
from loratory.reports.figures.ticks import log_ticks
from loratory.reports.ranking import sign


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


def _best_so_far(report: ComparisonReport, values: Sequence[float]) -> list[float]:
    better = sign(report.study.direction)
    best: list[float] = []
    for value in values:
        best.append(max(value, best[-1], key=lambda v: better * v) if best else value)
    return best


