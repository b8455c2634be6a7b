"""Plots of the search: every trial, by number and by the value of each parameter.

Trials without a score on eval.select (pruned, failed, infeasible, unfinished) stand in a strip below the
others, a row for each state: their last values come from other examples and less training.
"""

from collections.abc import Callable, Sequence
from typing import Any

from loratory.objectives.records import TrialState
from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, ParameterFacts, TrialFacts
from loratory.reports.figures.figure import Figure, base_line, layout, line, text
from loratory.reports.figures.ticks import log_ticks
from loratory.reports.ranking import sign

_EACH_TICK = 10
"""Span of whole numbers in which each has a tick."""
_ROW, _GAP = 0.07, 0.06
"""Heights of a row of the strip and of the gap above it, as shares of the plot."""
_SYMBOLS = {
    TrialState.PRUNED: "x",
    TrialState.FAIL: "diamond",
    TrialState.INFEASIBLE: "square",
    TrialState.RUNNING: "circle-open",
    TrialState.PAUSED: "circle-open",
    TrialState.COMPLETE: "triangle-up",
}


def history_figure(report: ComparisonReport) -> Figure | None:
    """Plot scores by trial number, with the best so far, and the trials without a score below."""
    trials = sorted(report.ranking, key=lambda trial: trial.number)
    if not trials:
        return None
    numbers, values = [t.number for t in trials], [t.value for t in trials]
    every = [*numbers, *(trial.number for trial in report.unranked)]
    data = [
        line("best so far", numbers, _best_so_far(report, values), color="--best", shape="hv"),
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trial",
            "x": numbers,
            "y": values,
            "marker": {"color": "--complete", "size": 8},
            "hovertemplate": "trial %{x}: %{y:.4f}<extra></extra>",
        },
        *base_line(report, xs=[min(every), max(every)]),
    ]
    drawn = layout(x="trial", y=formatting.label(report.study.metric))
    if max(every) - min(every) < _EACH_TICK:
        drawn["xaxis"]["dtick"] = 1  # no trial 0.2
    data += _strip(report, drawn, lambda trial: trial.number)
    note = "The best so far is the largest of many noisy values: it rises by luck too."
    if report.study.direction.value == "minimize":
        note = "The best so far is the smallest of many noisy values: it falls by luck too."
    return Figure(name="history", title="Over the search", note=note, data=data, layout=drawn)


def slice_figures(report: ComparisonReport) -> list[Figure]:
    """Plot scores by the values of each parameter."""
    if not report.ranking:
        return []
    return [figure for p in report.study.parameters if (figure := _slice_figure(report, p)) is not None]


def _slice_figure(report: ComparisonReport, parameter: ParameterFacts) -> Figure | None:
    name, categorical = parameter.name, parameter.kind == "categorical"
    trials = [trial for trial in report.ranking if name in trial.params]
    if not trials:
        return None

    def place(trial: TrialFacts) -> Any:
        value = trial.params.get(name)
        if categorical:
            return None if value is None else text(value)
        return value if isinstance(value, int | float) else None  # a record may hold NaN, as text

    data = {
        "type": "scatter",
        "mode": "markers",
        "x": [place(trial) for trial in trials],
        "y": [trial.value for trial in trials],
        "text": [f"trial {trial.number}" for trial in trials],
        "marker": {"size": 9, "color": ["--best" if t is report.best else "--complete" for t in trials]},
        "hovertemplate": "%{text}: %{y:.4f} at %{x}<extra></extra>",
    }
    drawn = layout(x=text(name), y=formatting.label(report.study.metric))
    drawn["height"] = 280
    if categorical:
        order = [text(choice) for choice in parameter.choices]
        drawn["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": order}
    elif parameter.log:
        values = [x for trial in (*report.ranking, *report.unranked) if (x := place(trial)) and x > 0]
        drawn["xaxis"] |= _log_axis(min(values), max(values)) if values else {}
    elif parameter.kind == "int" and _span([place(t) for t in trials]) < _EACH_TICK:
        drawn["xaxis"]["dtick"] = 1
    strip = _strip(report, drawn, place)
    tested = next((a for a in report.importance.associations if a.parameter == name), None)
    note = f"p = {formatting.chance(tested.p)}" if tested else ""
    return Figure(
        name=f"slice-{report.study.parameters.index(parameter)}",
        title=name,
        note=note,
        data=[data, *strip],
        layout=drawn,
    )


def _span(values: Sequence[Any]) -> float:
    numbers = [value for value in values if value is not None]
    return max(numbers) - min(numbers) if numbers else 0.0


def _log_axis(low: float, high: float) -> dict[str, Any]:
    ticks = log_ticks(low, high)
    texts = [f"{tick:.0e}".replace("e-0", "e-") if tick < 0.01 else f"{tick:g}" for tick in ticks]
    return {"type": "log", "tickvals": ticks, "ticktext": texts, "tickangle": 0}


def _strip(
    report: ComparisonReport, drawn: dict[str, Any], place: Callable[[TrialFacts], Any]
) -> list[dict[str, Any]]:
    """Return a dimmed trace for each state of trials without a score, and make room in the layout."""
    placed = [(trial, x) for trial in report.unranked if (x := place(trial)) is not None]
    present = {trial.state for trial, _ in placed}
    states = [state for state in _SYMBOLS if state in present]
    if not states:
        return []
    words = list(dict.fromkeys(_word(state) for state in states))
    top = _ROW * len(words)
    drawn["yaxis"] |= {"domain": [top + _GAP, 1]}
    drawn["yaxis2"] = drawn["yaxis"] | {
        "domain": [0, top],
        "title": {"text": ""},
        "type": "category",
        "categoryorder": "array",
        "categoryarray": words[::-1],
        "range": [-0.5, len(words) - 0.5],
        "showgrid": False,
        "tickfont": {"size": 11},
    }
    drawn["xaxis"] |= {"anchor": "y2"}
    return [_dimmed(state, [(t, x) for t, x in placed if t.state is state]) for state in states]


def _dimmed(state: TrialState, placed: Sequence[tuple[TrialFacts, Any]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _word(state),
        "x": [x for _, x in placed],
        "y": [_word(state)] * len(placed),
        "yaxis": "y2",
        "text": [f"trial {trial.number}" for trial, _ in placed],
        "marker": {"color": "--dimmed", "size": 7, "symbol": _SYMBOLS[state]},
        "hovertemplate": "%{text}, " + _word(state) + ": %{x}<extra></extra>",
    }


def _word(state: TrialState) -> str:
    return "no finite score" if state is TrialState.COMPLETE else formatting.state(state)


def _best_so_far(report: ComparisonReport, values: Sequence[float]) -> list[float]:
    better = sign(report.study.direction)
    best: list[float] = []
    for value in values:
        best.append(max(value, best[-1], key=lambda v: better * v) if best else value)
    return best
