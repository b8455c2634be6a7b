from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.figures.curves import dev_figure, loss_figure
from loratory.reports.figures.figure import Figure
from loratory.reports.figures.scores import scores_figure, set_figure
from loratory.reports.figures.search import history_figure, slice_figures
from loratory.reports.figures.ticks import log_ticks
from loratory.reports.figures.trade_offs import pareto_figures


def without_colours(figure: Figure) -> dict[str, object]:
    """Colours are style variables, which plotly's own check does not know."""

    def cleaned(value: object) -> object:
        if isinstance(value, dict):
            return {k: cleaned(v) for k, v in value.items() if not k.endswith("color")}
        return [cleaned(v) for v in value] if isinstance(value, list) else value

    return {"data": cleaned(figure.data), "layout": cleaned(figure.layout)}


def test_plotly_knows_every_property(study: StudyFolder) -> None:
    report = compare(study)
    drawn = [set_figure, scores_figure, history_figure, dev_figure, loss_figure]
    figures = [draw(report) for draw in drawn] + slice_figures(report) + pareto_figures(report)
    assert len(figures) == 12
    for figure in figures:
        assert figure is not None
        go.Figure(without_colours(figure), skip_invalid=False)


def test_one_curve_a_trial_with_the_best_on_top(study: StudyFolder) -> None:
    figure = dev_figure(compare(study))
    assert figure is not None
    assert len(figure.data) == 11
    assert figure.data[-1]["name"] == "trial 7"
    assert figure.data[-1]["line"]["color"] == "--best"
    colours = {trace["name"]: trace["line"]["color"] for trace in figure.data}
    assert colours["trial 2"] == colours["trial 11"] == "--dimmed"
    assert colours["trial 0"] == "--complete"


def test_history_never_falls_and_ranks_no_pruned_trial(study: StudyFolder) -> None:
    figure = history_figure(compare(study))
    assert figure is not None
    best, trials, base, *others = figure.data
    assert best["y"] == sorted(best["y"])
    assert trials["x"] == [0, 1, 3, 5, 7, 9, 10]
    assert base["name"] == "untuned base"
    assert {trace["name"]: trace["x"] for trace in others} == {
        "pruned": [2, 6],
        "failed": [4],
        "infeasible": [8],
        "unfinished": [11],
    }
    assert {(trace["yaxis"], trace["marker"]["color"]) for trace in others} == {("y2", "--dimmed")}


def test_history_of_a_minimised_metric_never_rises(make_study: Callable[..., StudyFolder]) -> None:
    folder = make_study(metric="loss", base=False)
    for record in folder.read_records():
        if record.values:
            folder.write_record(record.model_copy(update={"values": [float(record.number % 4)]}))
    figure = history_figure(compare(folder))
    assert figure is not None
    assert figure.data[0]["y"] == sorted(figure.data[0]["y"], reverse=True)


def test_score_bars_end_at_the_interval(study: StudyFolder) -> None:
    report = compare(study)
    figure = scores_figure(report)
    assert figure is not None
    best = report.ranking[0]
    assert best.interval is not None
    points = figure.data[0]
    assert points["x"][0] + points["error_x"]["array"][0] == pytest.approx(best.interval.high)
    assert points["x"][0] - points["error_x"]["arrayminus"][0] == pytest.approx(best.interval.low)


def test_many_trials_are_not_all_drawn_and_it_says_so(make_study: Callable[..., StudyFolder]) -> None:
    report = compare(make_study())
    many = report.model_copy(
        update={"curves": tuple(c.model_copy(update={"number": n}) for n, c in enumerate(report.curves * 20))}
    )
    figure = dev_figure(many)
    assert figure is not None
    assert len(figure.data) == 120
    assert "120 of 220 trials are drawn" in figure.note


def test_names_that_look_like_markup_stay_text(make_study: Callable[..., StudyFolder]) -> None:
    modules = "<a href='javascript:1'>x</a>"
    space = {"target_modules": [modules, "all-linear"]}
    rows = [(0, TrialState.COMPLETE, 0.5, 1e-3, 8, 8, modules)]
    report = compare(make_study(rows, space=space))
    (figure,) = slice_figures(report)
    assert figure.data[0]["x"] == ["&lt;a href='javascript:1'&gt;x&lt;/a&gt;"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (4, 64, [5, 10, 20, 50]),
        (1e-5, 1e-2, [1e-5, 1e-4, 1e-3, 1e-2]),
        (1e-4, 1e-2, [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]),
        (1e-8, 1.0, [float(f"1e{power}") for power in range(-8, 1)]),
        (3e-4, 3e-4, [2e-4]),
    ],
)
def test_log_axis_always_has_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)
