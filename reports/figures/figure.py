"""One plot of the report as plotly traces and layout, and the parts that plots share.

Colours are names of style variables (`--best`) that the page's script replaces, so that one figure serves
the light and the dark theme.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.visible import one_line

_LONGEST_LABEL = 60
"""Characters of a name in a plot."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One plot.

    Attributes:
        name: id of the element, unique in the report.
        title: content in a few words.
        note: how to read the plot.
        data: plotly traces.
        layout: plotly layout.
        zooms: whether its axes can be zoomed.
        whole: ranges of axes that show all values, where the layout leaves some out; their marks are the
            last trace.
    """

    name: str
    title: str
    note: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    zooms: bool = False
    whole: dict[str, Any] = field(default_factory=dict)


def line(name: str, x: Sequence[Any], y: Sequence[Any], *, color: str, **style: Any) -> dict[str, Any]:
    """Return a trace of a line; `style` are its further properties."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": color, **style},
    }


def base_line(
    report: ComparisonReport,
    *,
    xs: Sequence[Any] = (),
    ys: Sequence[Any] = (),
    vertical: bool = False,
) -> list[dict[str, Any]]:
    """Return the trace of the untuned base's score along x or along y; none where it was not scored."""
    base = report.base.metrics.get(report.study.metric) if report.base else None
    if base is None:
        return []
    x, y = ([base] * len(ys), ys) if vertical else (xs, [base] * len(xs))
    # One point makes no line.
    trace = line("untuned base", x, y, color="--base", dash="dash", width=1.6)
    hover = "untuned base: %{x:.4f}" if vertical else "untuned base: %{y:.4f}"
    return [
        trace | {"mode": "lines" if len(x) > 1 else "markers", "hovertemplate": hover + "<extra></extra>"}
    ]


def layout(*, x: str, y: str) -> dict[str, Any]:
    """Return the layout that all plots have, with titles of both axes."""
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


def text(value: Any) -> str:
    """Return a value for a label, in which plotly would interpret some HTML."""
    return html.escape(one_line(formatting.parameter(value), _LONGEST_LABEL), quote=False)
