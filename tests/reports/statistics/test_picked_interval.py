"""The picked trial: its optimism, and the interval around what is left of its value."""

import numpy as np
import pytest

from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import PickedInterval, picked_interval
from loratory.reports.statistics.resamples import resampled_values, resamples
from loratory.reports.statistics.scored import Scored, scored
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE


def optimism_of(found: Scored) -> float | None:
    drawn = resamples(found.units, seed=0)
    return optimism(found, drawn, resampled_values(found, drawn))


def interval_of(found: Scored) -> PickedInterval | None:
    return picked_interval(found, jackknife(found), optimism_of(found))


def test_quickstart(by_group) -> None:
    found, _ = scored(by_group, "rougeL", MAXIMIZE)
    flattery = optimism_of(found)
    assert 0.02 < flattery / 0.2531 < 0.045
    interval = interval_of(found)
    assert interval.key == "0011"
    assert interval.value == pytest.approx(0.25306 - flattery, abs=1e-5)
    assert (interval.low, interval.high) == pytest.approx((0.208, 0.282), abs=2e-3)


@pytest.mark.parametrize("direction", Direction)
def test_equal_trials_are_flattered_by_the_expected_maximum(table, direction) -> None:
    sign = 1 if direction is MAXIMIZE else -1
    true, estimated = [], []
    for seed in range(12):
        values = 3 + np.random.default_rng(seed).normal(size=(20, 100))
        found, _ = scored({f"{i}": table(v) for i, v in enumerate(values)}, "rougeL", direction)
        true.append(max(sign * (values.mean(axis=1) - 3)))
        estimated.append(optimism_of(found))
        interval = interval_of(found)
        assert interval.low < interval.value < interval.high
        assert interval.value == pytest.approx(sign * (max(found.values) - estimated[-1]))
    assert np.mean(estimated) == pytest.approx(np.mean(true), rel=0.2)


def test_one_trial_is_not_flattered(table) -> None:
    found, _ = scored({"a": table([0.1, 0.5, 0.3])}, "rougeL", MAXIMIZE)
    assert optimism_of(found) == 0
    assert interval_of(found).value == pytest.approx(0.3)


def test_identical_files_are_hardly_flattered(table) -> None:
    values = np.random.default_rng(0).random(100)
    found, _ = scored({key: table(values) for key in "abc"}, "rougeL", MAXIMIZE)
    assert optimism_of(found) == pytest.approx(0, abs=0.005)


def test_two_groups(table) -> None:
    groups = ["g", "h"] * 10
    rng = np.random.default_rng(0)
    found, _ = scored({k: table(rng.random(20), groups=groups) for k in "ab"}, "rougeL", MAXIMIZE)
    interval = interval_of(found)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("groups", [None, ["g"]], ids=["one example", "one group"])
def test_one_unit_has_neither(table, groups) -> None:
    tables = {"a": table([0.2], groups=groups), "b": table([0.4], groups=groups)}
    found, _ = scored(tables, "rougeL", MAXIMIZE)
    assert optimism_of(found) is None
    assert interval_of(found) is None


def test_all_answers_alike_have_no_interval(table) -> None:
    found, _ = scored({key: table([0.3] * 20) for key in "ab"}, "rougeL", MAXIMIZE)
    assert optimism_of(found) == pytest.approx(0)
    assert interval_of(found) is None


def test_fifty_of_fifty_right_is_no_certainty(table) -> None:
    tables = {"a": table([1.0] * 50), "b": table([1.0] * 45 + [0.0] * 5)}
    found, _ = scored(tables, "rougeL", MAXIMIZE)
    interval = interval_of(found)
    assert 0.85 < interval.low < 0.95
    assert interval.high == pytest.approx(1)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_corpus_metrics(by_group, metric) -> None:
    found, _ = scored(by_group, metric, MAXIMIZE)
    interval = interval_of(found)
    best = max(table.aggregate[metric] for table in by_group.values())
    assert interval.low < interval.value < best
    assert 0 < optimism_of(found) < 0.2 * best


def test_a_choice_that_other_examples_made_is_hardly_flattered(table) -> None:
    values = np.random.default_rng(4).normal(3, 1, (10, 60))
    fresh, _ = scored({f"{i}": table(v) for i, v in enumerate(values)}, "rougeL", MAXIMIZE)
    drawn = resamples(60, seed=0)
    # Sums over a thousand other examples, on which trial 3 is far ahead.
    beside = np.tile([3000.0, 1000.0], (10, 1))
    beside[3, 0] += 500
    chosen = resampled_values(fresh, drawn, beside=beside)
    assert (chosen.argmax(axis=0) == 3).all()
    assert optimism(fresh, drawn, chosen, picked=3) == pytest.approx(0, abs=1e-12)
    interval = picked_interval(fresh, jackknife(fresh), 0.0, picked=3)
    assert (interval.key, interval.value) == ("3", pytest.approx(values[3].mean()))
    # Others that have next to no say leave the optimism of a choice by these alone.
    faint = optimism(fresh, drawn, resampled_values(fresh, drawn, beside=beside * 1e-9))
    assert faint == pytest.approx(optimism_of(fresh), rel=0.01)
