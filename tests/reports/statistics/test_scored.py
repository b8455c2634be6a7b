from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE


def test_values_are_the_recorded_ones(by_group) -> None:
    for metric in next(iter(by_group.values())).aggregate:
        direction = MINIMIZE if metric == "loss" else MAXIMIZE
        found, left_out = scored(by_group, metric, direction)
        assert found is not None
        assert left_out == {}
        recorded = [table.aggregate[metric] for table in by_group.values()]
        assert found.sign * found.values == pytest.approx(recorded)
        assert (found.unit, found.units, found.examples) == ("group", 30, 150)
        assert found.top == (1.0 if metric == "exact_match" else None)


def test_smaller_is_better_where_the_metric_is_minimised(table) -> None:
    found, _ = scored({"a": table([2, 3]), "b": table([1, 1])}, "rougeL", MINIMIZE)
    assert found.values.tolist() == [-2.5, -1]
    assert found.keys[found.picked] == "b"
    assert found.best_first.tolist() == [1, 0]


def test_no_trial_is_none() -> None:
    assert scored({}, "rougeL", MAXIMIZE) == (None, {})


@pytest.mark.parametrize(
    ("groups", "unit", "units"),
    [
        (None, "example", 4),
        (["", "", "", ""], "example", 4),
        (["a", "b", "a", "b"], "group", 2),
        (["a", "a", "a", "a"], "group", 1),
        (["a", "a", "", ""], "group", 3),
    ],
)
def test_groups_are_the_units_however_few_they_are(table, groups, unit, units) -> None:
    found, _ = scored({"a": table([1, 2, 3, 4], groups=groups)}, "rougeL", MAXIMIZE)
    assert (found.unit, found.units) == (unit, units)
    assert found.totals.tolist() == [[10, 4]]


def test_sums_of_groups(table) -> None:
    held = table([1, 2, 3, 4], groups=["b", "a", "b", "a"])
    found, _ = scored({"x": held}, "rougeL", MAXIMIZE)
    assert found.columns.tolist() == [[[6, 2], [4, 2]]]


def test_scores_that_do_not_fit_are_named(table) -> None:
    good, more = table([0.1, 0.2, 0.3]), table([0.2, 0.2, 0.3])
    tables = {
        "nan": table([0.1, float("nan"), 0.3]),
        "good": good,
        "other": table([0.1, 0.2]),
        "value": replace(good, aggregate={"rougeL": 0.9}),
        "metric": table([0.1, 0.2, 0.3], metric="rouge1"),
        "empty": table([]),
        "more": more,
    }
    found, left_out = scored(tables, "rougeL", MAXIMIZE)
    assert found.keys == ("good", "more")
    assert set(left_out) == {"nan", "other", "value", "metric", "empty"}
    assert "not finite" in left_out["nan"]
    assert "other examples" in left_out["other"]
    assert left_out["value"] == "its examples give rougeL 0.2, recorded is 0.9"
    assert "no rougeL" in left_out["metric"]
    assert "no examples" in left_out["empty"]


def test_the_examples_that_most_trials_have_are_compared(table) -> None:
    tables = {"old": table([0.5] * 9), "a": table([0.1, 0.2]), "b": table([0.3, 0.2])}
    found, left_out = scored(tables, "rougeL", MAXIMIZE)
    assert found.keys == ("a", "b")
    assert list(left_out) == ["old"]


def test_right_or_wrong_is_noticed(table) -> None:
    tables = {"a": table([0, 1, 1]), "b": table([0, 0, 1])}
    assert scored(tables, "rougeL", MAXIMIZE)[0].top == 1
    assert scored(tables | {"c": table([0, 0.5, 1])}, "rougeL", MAXIMIZE)[0].top is None
    assert scored({"a": table([0, 100, 100])}, "rougeL", MAXIMIZE)[0].top == 100


def macro_f1(predictions: list[str], references: list[str], labels: list[str]) -> ScoreTable:
    scores = score_texts(["macro_f1"], predictions, references, labels=labels)
    ids = tuple(map(str, range(len(references))))
    return ScoreTable(example_ids=ids, groups=ids, **vars(scores))


def test_labels_that_never_occur_take_no_room() -> None:
    labels = [f"label {i}" for i in range(200)]
    references = ["label 3", "label 5", "label 3", "label 7"]
    tables = {
        "a": macro_f1(references, references, labels),
        "b": macro_f1(["label 9", "label 5", "label 3", "?"], references, labels),
    }
    found, _ = scored(tables, "macro_f1", MAXIMIZE)
    assert found.columns.shape == (2, 4, 3 * 4)
    assert found.values == pytest.approx([table.aggregate["macro_f1"] for table in tables.values()])


def test_statistics_of_another_width_are_left_out() -> None:
    references = ["a", "b", "a", "b"]
    tables = {
        "two": macro_f1(references, references, ["a", "b"]),
        "three": macro_f1(references, references, ["a", "b", "c"]),
    }
    found, left_out = scored(tables, "macro_f1", MAXIMIZE)
    assert found.keys == ("two",)
    assert left_out == {"three": "its macro_f1 has statistics of 9 numbers, those of others 6"}


def test_a_metric_of_token_counts_is_weighted_by_them(table) -> None:
    held = table([1, 2])
    statistics = {"loss": np.array([[3.0, 1], [4, 3]])}
    found, _ = scored(
        {"a": replace(held, statistics=statistics, aggregate={"loss": 7 / 4})}, "loss", MINIMIZE
    )
    assert found.values.tolist() == [-7 / 4]
