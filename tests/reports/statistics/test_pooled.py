"""Two parts of eval: the value over both, and what the second says of the trial that both pick."""

from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.metrics import score_texts
from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.picked_interval import PickedInterval
from loratory.reports.statistics.pooled import confirmed_interval, joined, pool
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE
METRICS = ("rougeL", "bleu", "chrf", "token_f1", "exact_match")
REFERENCES = ["return the list of open files", "a path", "close the file and return None", "sum of x and y"]
PREDICTIONS = ["return a list of files", "a path", "close file", "sum of all of y and x"]


def _texts(indices: list[int], metrics=METRICS, labels=(), predictions=PREDICTIONS, references=REFERENCES):
    given = [predictions[i] for i in indices], [references[i] for i in indices]
    scores = score_texts(metrics, *given, **({"labels": labels} if labels else {}))
    ids = tuple(f"e{i}" for i in indices)
    return ScoreTable(example_ids=ids, groups=ids, **vars(scores))


@pytest.mark.parametrize("metric", METRICS)
def test_the_value_over_both_parts_is_that_of_all_their_texts(metric: str) -> None:
    pooled = pool({"a": _texts([0])}, {"a": _texts([1, 2, 3])}, metric, MAXIMIZE)
    assert pooled is not None
    whole, second = _texts([0, 1, 2, 3]), _texts([1, 2, 3])
    assert pooled.both.values[0] == pytest.approx(whole.aggregate[metric])
    assert pooled.second.values[0] == pytest.approx(second.aggregate[metric])
    assert (pooled.both.examples, pooled.second.examples, pooled.second.units) == (4, 3, 3)


def test_labels_of_one_part_alone_count_in_both() -> None:
    texts = ["x", "y", "x", "z"], ["x", "y", "y", "z"]
    of = {"metrics": ("macro_f1",), "labels": ("x", "y", "z", "w"), "predictions": texts[0]}
    first, second, whole = (_texts(i, references=texts[1], **of) for i in ([0, 1], [2, 3], [0, 1, 2, 3]))
    pooled = pool({"a": first}, {"a": second}, "macro_f1", MAXIMIZE)
    assert pooled is not None
    assert pooled.both.values[0] == pytest.approx(whole.aggregate["macro_f1"])
    assert pooled.second.values[0] == pytest.approx(second.aggregate["macro_f1"])


def test_trials_without_scores_per_example_are_left_out() -> None:
    part = _texts([0, 1])
    without = replace(part, metrics={}, statistics={})
    other = {"a": _texts([2, 3]), "b": _texts([2, 3])}
    pooled = pool({"a": part, "b": without}, other, "rougeL", MAXIMIZE)
    assert pooled is not None and pooled.both.keys == ("a",)
    assert pool({"a": without}, {"a": part}, "rougeL", MAXIMIZE) is None
    assert pool({"a": part}, {"a": part}, "squad_f1", MAXIMIZE) is None


def _interval(table, first, second, *, groups=None, direction=MAXIMIZE) -> PickedInterval | None:
    select = {f"{i}": _renamed(table(v)) for i, v in enumerate(first)}
    confirm = {f"{i}": table(v, groups=groups) for i, v in enumerate(second)}
    pooled = pool(select, confirm, "rougeL", direction)
    assert pooled is not None
    return confirmed_interval(pooled, seed=0)


def _renamed(table: ScoreTable) -> ScoreTable:
    ids = tuple(f"select-{name}" for name in table.example_ids)
    return replace(table, example_ids=ids, groups=ids)


def test_one_trial_has_the_interval_of_the_second_part(table) -> None:
    values = np.random.default_rng(0).random(50)
    interval = _interval(table, [np.ones(50)], [values])
    assert interval is not None
    half = 2.0096 * values.std(ddof=1) / 50**0.5
    expected = (values.mean(), values.mean() - half, values.mean() + half)
    assert (interval.value, interval.low, interval.high) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("direction", Direction)
def test_a_trial_that_the_first_part_picks_alone_is_not_flattered(table, direction) -> None:
    """Nor is its value less for others that are better on the second part."""
    sign = 1 if direction is MAXIMIZE else -1
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 200))
    interval = _interval(
        table,
        [sign * (9 + noise[0]), sign * noise[1]],
        [sign * (1 + noise[0]), sign * (2 + noise[1])],
        direction=direction,
    )
    assert interval is not None and interval.key == "0"
    assert interval.value == pytest.approx(sign * (1 + noise[0].mean()), abs=0.002)


def test_it_covers_the_picked_trial_of_five_and_its_centre_is_not_flattered(table) -> None:
    """Five equal trials, picked by both parts: 95% of the intervals hold their value, 3."""
    inside, centres, naive = [], [], []
    for seed in range(150):
        noise = np.random.default_rng(seed).normal(size=(2, 5, 40))
        interval = _interval(table, 3 + noise[0], 3 + noise[1])
        assert interval is not None
        inside.append(interval.low <= 3 <= interval.high)
        centres.append(interval.value - 3)
        naive.append(noise[1][int(interval.key)].mean())
    assert np.mean(naive) > 0.1
    assert abs(np.mean(centres)) < 0.05
    assert np.mean(inside) >= 0.92


def test_groups_are_the_units_and_one_has_no_interval(table) -> None:
    values = np.random.default_rng(0).random((2, 12))
    pooled = pool(
        {"a": _renamed(table(values[0]))}, {"a": table(values[1], groups=["g", "h"] * 6)}, "rougeL", MAXIMIZE
    )
    assert pooled is not None and (pooled.second.unit, pooled.second.units) == ("group", 2)
    assert _interval(table, values[:1], values[1:], groups=["g"] * 12) is None


def test_joined_scores_keep_the_groups_of_both_parts(table) -> None:
    values = np.random.default_rng(0).random((2, 4))
    first = _renamed(table(values[0]))
    both = joined(first, table(values[1], groups=["g", "h", "g", "h"]), "rougeL")
    assert both is not None
    assert both.groups == (*first.groups, "g", "h", "g", "h")
    assert both.aggregate["rougeL"] == pytest.approx(values.mean())
    assert joined(first, table(values[1], metric="bleu"), "rougeL") is None
