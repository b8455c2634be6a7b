from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import PlotPoint
from loratory.reports.figures.curves import dev_figure, loss_figure, robust_scale
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


def points(*values: float) -> tuple[PlotPoint, ...]:
    return tuple(PlotPoint(x=float(x), y=y) for x, y in enumerate(values))


USUAL = [points(5.0, 4.0, 3.0 + n / 10, 2.5 + n / 10) for n in range(8)]


def test_a_scale_leaves_out_what_diverged() -> None:
    scale = robust_scale([*USUAL, points(5.0, 40.0, 3e4, 1e5), points(5.0, 9.0, 80.0, 90.0)], worse=1)
    assert scale is not None
    low, high = scale
    assert 2.3 < low < 2.5 and 5.0 < high < 5.2


def test_a_spike_of_a_good_trial_does_not_flatten_the_others() -> None:
    spiky = points(*[2.5] * 60, 500.0, *[2.5] * 60)
    scale = robust_scale([*USUAL, spiky], worse=1)
    assert scale is not None and scale[1] < 6


@pytest.mark.parametrize(
    "curves",
    [
        USUAL,
        [points(1.0)],
        [points(2.0, 2.0), points(2.0, 2.0)],
        [points(0.1), points(0.5), points(0.9)],
    ],
    ids=["as usual", "one point", "all alike", "spread"],
)
def test_a_scale_shows_all_where_all_fit(curves: list[tuple[PlotPoint, ...]]) -> None:
    assert robust_scale(curves, worse=1) is None


def test_the_best_of_all_stays_on_the_scale() -> None:
    flat = [points(0.1, 0.1 + n / 100) for n in range(8)]
    assert robust_scale([*flat, points(0.1, 5.0)], worse=-1) is None
    assert robust_scale([*flat, points(0.1, -5.0)], worse=-1) is not None


def test_what_is_beyond_the_scale_is_marked(quickstart: StudyFolder) -> None:
    figure = loss_figure(compare(quickstart))
    assert figure is not None and figure.zooms
    low, high = figure.layout["yaxis"]["range"]
    marks = figure.data[-1]
    assert marks["name"] == "beyond the scale"
    assert all(low < y < high for y in marks["y"])
    assert {label.partition(":")[0] for label in marks["text"]} == {
        "trial 1",
        "trial 3",
        "trial 5",
        "trial 10",
    }
    assert "Trials 1, 3, 5 and 10 have values beyond this scale" in figure.note
    whole = figure.whole["yaxis.range"]
    every = [y for trace in figure.data[:-1] for y in trace["y"]]
    assert whole[0] < min(every) and whole[1] > max(every) > high


def test_pruned_trials_stay_among_many_curves(study: StudyFolder) -> None:
    report = compare(study)
    one = report.curves[0]
    ranking = tuple(report.ranking[0].model_copy(update={"number": n, "rank": n + 1}) for n in range(300))
    curves = [one.model_copy(update={"number": n}) for n in range(300)]
    curves += [one.model_copy(update={"number": n, "state": TrialState.PRUNED}) for n in range(300, 400)]
    figure = dev_figure(report.model_copy(update={"ranking": ranking, "curves": tuple(curves)}))
    assert figure is not None
    assert len(figure.data) == 120
    assert sum(trace["line"]["color"] == "--dimmed" for trace in figure.data) == 40
    assert figure.data[-1]["name"] == "trial 0"


def test_slices_show_the_trials_without_a_score(study: StudyFolder) -> None:
    report = compare(study)
    for figure in slice_figures(report):
        shown, *dimmed = figure.data
        assert len(shown["x"]) == 7
        assert sum(len(trace["x"]) for trace in dimmed) == 5
        assert {trace["marker"]["color"] for trace in dimmed} == {"--dimmed"}
        assert figure.note.startswith("p = ")
