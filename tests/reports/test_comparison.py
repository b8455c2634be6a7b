import json
import math
from collections.abc import Callable

import pytest

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports.comparison import compare
from loratory.spaces import InputError, LoratoryError
from loratory.spaces.metric_names import Direction

MakeStudy = Callable[..., StudyFolder]


def test_ranks_complete_trials_alone_by_their_value_on_select(study: StudyFolder) -> None:
    report = compare(study)
    assert [trial.number for trial in report.ranking] == [7, 10, 1, 3, 5, 9, 0]
    assert [trial.rank for trial in report.ranking] == [1, 2, 3, 4, 5, 6, 7]
    values = [trial.value for trial in report.ranking]
    assert values == sorted(values, reverse=True)
    assert values == [trial.metrics["rougeL"] for trial in report.ranking]


def test_pruned_trials_with_a_high_last_value_have_no_place(study: StudyFolder) -> None:
    report = compare(study)
    assert [(t.number, t.state.value) for t in report.unranked] == [
        (2, "PRUNED"),
        (4, "FAIL"),
        (6, "PRUNED"),
        (8, "INFEASIBLE"),
        (11, "RUNNING"),
    ]
    assert "below the median" in report.unranked[0].reason
    assert report.unranked[1].failure == "oom"
    assert report.unranked[4].reason == "not finished"


def test_counts_name_every_state(study: StudyFolder) -> None:
    report = compare(study)
    assert {state.value: count for state, count in report.counts.items()} == {
        "RUNNING": 1,
        "PAUSED": 0,
        "COMPLETE": 7,
        "PRUNED": 2,
        "FAIL": 1,
        "INFEASIBLE": 1,
    }
    assert report.provisional


def test_gain_is_over_the_base_and_median_is_the_worse_of_two(make_study: MakeStudy) -> None:
    rows = [
        (number, TrialState.COMPLETE, skill, 1e-3, 8, 8, "all-linear")
        for number, skill in enumerate((0.2, 0.9, 0.5, 0.7))
    ]
    report = compare(make_study(rows))
    assert report.base is not None
    assert report.best is not None
    assert report.best.gain == pytest.approx(report.best.value - report.base.metrics["rougeL"])
    assert [trial.number for trial in report.ranking] == [1, 3, 2, 0]
    assert report.median == 2


def test_minimised_metric_ranks_the_smallest_first_and_gains_are_positive(make_study: MakeStudy) -> None:
    folder = make_study(metric="loss", base=False, test=False)
    for record in folder.read_records():
        if record.state is TrialState.COMPLETE:
            value = 3.0 - record.number / 10
            folder.write_record(record.model_copy(update={"values": [value], "metrics": {"loss": value}}))
    write_base_loss(folder, 3.5)
    report = compare(folder)
    assert report.study.direction is Direction.MINIMIZE
    assert [trial.number for trial in report.ranking] == [10, 9, 7, 5, 3, 1, 0]
    assert report.ranking[0].gain == pytest.approx(1.5)
    assert report.ranking[0].best_dev_value == pytest.approx(min(p.y for p in report.curves[9].dev))


def write_base_loss(folder: StudyFolder, loss: float) -> None:
    record = {
        "schema_version": 1,
        "study": "x",
        "key": "base",
        "split": "select",
        "metrics": {"loss": loss},
        "provenance": {"seed": 0},
    }
    write_atomically(folder.score(BASE) / "record.json", json.dumps(record).encode())


def test_equal_values_are_placed_by_number(make_study: MakeStudy) -> None:
    rows = [(n, TrialState.COMPLETE, 0.5, 1e-3, 8, 8, "all-linear") for n in (3, 1, 2)]
    folder = make_study(rows)
    for record in folder.read_records():
        folder.write_record(record.model_copy(update={"values": [0.5]}))
    assert [trial.number for trial in compare(folder).ranking] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"values": None}, "no value"),
        ({"values": []}, "no value"),
        ({"params": {"learning_rate": math.inf}}, "params must be finite"),
    ],
)
def test_complete_trials_without_a_finite_score_are_listed_not_ranked(
    study: StudyFolder, change: dict[str, object], says: str
) -> None:
    path = study.trial("0007") / "record.json"
    # Written by hand: a record of ours refuses most of these.
    write_atomically(path, json.dumps({**json.loads(path.read_text()), **change}).encode())
    report = compare(study)
    assert report.best is not None
    assert report.best.number == 10
    odd = next(trial for trial in report.unranked if trial.number == 7)
    assert odd.state is TrialState.COMPLETE
    assert says in odd.reason


def test_curves_hold_every_evaluation_and_the_training_loss(study: StudyFolder) -> None:
    curves = {c.number: c for c in compare(study).curves}
    assert sorted(curves) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert [point.x for point in curves[7].dev] == [1, 2, 3, 4]
    assert [point.x for point in curves[2].dev] == [1, 2]
    assert len(curves[7].loss) == 120
    assert curves[4].loss[-1].x == 50 * 400


def test_intervals_hold_their_score_and_test_scores_name_their_trial(study: StudyFolder) -> None:
    report = compare(study)
    for trial in report.ranking:
        assert trial.interval is not None
        assert trial.interval.low < trial.value < trial.interval.high
    assert [scores.number for scores in report.test] == [None, 7]
    assert all(scores.interval is not None for scores in report.test)
    assert report.uncertainty is not None
    assert (report.uncertainty.unit, report.uncertainty.units) == ("group", 30)


def test_is_the_same_each_time(study: StudyFolder) -> None:
    assert compare(study) == compare(study)


def test_totals_add_up(study: StudyFolder) -> None:
    totals = compare(study).totals
    assert totals.device_seconds == 7 * 40 + 2 * 20 + 10 + 20
    assert totals.elapsed_seconds == 11 * 60 + 30
    assert totals.peak_memory_bytes == 2**31
    assert totals.devices == ("NVIDIA H200",)


def test_study_that_has_just_begun_has_an_empty_comparison(make_study: MakeStudy) -> None:
    report = compare(make_study([], base=False, test=False))
    assert report.best is None
    assert report.median_trial is None
    assert report.importance.associations == ()
    assert report.totals.elapsed_seconds is None


@pytest.mark.parametrize("name", ["record.json", "predictions.jsonl"])
def test_damaged_file_is_named(study: StudyFolder, name: str) -> None:
    path = study.trial("0007") / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(LoratoryError, match=rf"0007/{name}: must be .* is damaged"):
        compare(study)


def test_folder_without_a_study_is_refused(study: StudyFolder) -> None:
    with pytest.raises(InputError, match=r"has no study\.json"):
        compare(StudyFolder(study.path / "trials"))
