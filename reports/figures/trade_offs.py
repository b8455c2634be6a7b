"""Plots of quality against cost, with the Pareto front."""

from collections.abc import Sequence
from typing import Any

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.figures.figure import Figure, layout, line
from loratory.reports.trade_off_words import cost_text
from loratory.reports.trade_offs import ParetoFront, ParetoPoint

_UNITS = {
    "adapter_bytes": (2**20, "MiB"),
    "training_seconds": (60, "minutes"),
    "peak_memory_bytes": (2**30, "GiB"),
    "decoding_tokens_per_second": (1, "tokens per second"),
}


def pareto_figures(report: ComparisonReport) -> list[Figure]:
    """Plot the metric against each recorded cost, the front as a line."""
    return [_pareto_figure(report, front) for front in report.pareto_fronts if front.front]


def _pareto_figure(report: ComparisonReport, front: ParetoFront) -> Figure:
    divisor, unit = _UNITS[front.cost]
    members = [point for point in front.others if point.may_be_best]
    others = [point for point in front.others if not point.may_be_best]
    edge = line(
        "Pareto front",
        [point.cost / divisor for point in front.front],
        [point.value for point in front.front],
        color="--best",
        width=2,
        shape="hv",
    )
    points = [
        _points(front, others, divisor, color="--complete", size=7, opacity=0.55),
        _points(front, members, divisor, color="--complete", size=9),
        _points(front, front.front, divisor, color="--best", size=9),
    ]
    drawn = layout(x=f"{front.label}, {unit}", y=formatting.label(report.study.metric))
    drawn["height"] = 280
    return Figure(
        name=f"pareto-{front.cost.replace('_', '-')}",
        title=f"{formatting.label(report.study.metric)} and {front.label}",
        note=front.note,
        data=[edge, *(trace for trace in points if trace["x"])],
        layout=drawn,
    )


def _points(
    front: ParetoFront,
    points: Sequence[ParetoPoint],
    divisor: float,
    *,
    color: str,
    size: int,
    opacity: float = 1,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [point.cost / divisor for point in points],
        "y": [point.value for point in points],
        "text": [
            f"trial {point.shown}, {cost_text(front, point)}{', may be best' * point.may_be_best}"
            for point in points
        ],
        "marker": {"color": color, "size": size, "opacity": opacity},
        "hovertemplate": "%{text}: %{y:.4f}<extra></extra>",
    }
