"""Plots of learning curves, on a scale that a few diverged trials do not flatten."""

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


