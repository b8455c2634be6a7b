import math
from dataclasses import replace

import numpy as np
import pytest

from loratory.reports.statistics.best_set import BestSet, may_be_best
from loratory.reports.statistics.candidates import candidates
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE


def best_set(tables, metric="rougeL", direction=MAXIMIZE, *, seed=0) -> BestSet:
    found, _ = scored(tables, metric, direction)
    return may_be_best(found, resamples(found.units, seed=seed))


@pytest.mark.parametrize("seed", range(3))
def test_the_set_of_the_quickstart(by_group, by_example, seed) -> None:
    for tables in (by_group, by_example):
        found = best_set(tables, seed=seed)
        assert found.keys == ("0011", "0008", "0006", "0009")
        shortfall = found.shortfall["0011"] / tables["0011"].aggregate["rougeL"]
        # By the study's own seed; other seeds give 8.5 to 10.0%.
        assert (0.088 <= shortfall <= 0.1) if seed == 0 else (0.085 <= shortfall <= 0.101)
        assert set(found.shortfall) == set(tables)
        assert min(found.shortfall, key=found.shortfall.get) == "0011"
        # One that is not in the set is surely worse than one that is.
        assert (
            found.shortfall["0003"] > tables["0011"].aggregate["rougeL"] - tables["0003"].aggregate["rougeL"]
        )


def test_two_trials_are_a_paired_t_test(table) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.2, 60)
    better = a + rng.normal(0.02, 0.03, 60)
    difference = better - a
    error = difference.std(ddof=1) / 60**0.5
    tables = {"a": table(a), "b": table(better)}
    assert difference.mean() > 2 * error
    assert best_set(tables).keys == ("b",)
    # Its shortfall: the difference and the one-sided margin of 1.67 standard errors.
    assert best_set(tables).shortfall["a"] == pytest.approx(difference.mean() + 1.67 * error, rel=0.05)
    assert best_set(tables).shortfall["b"] == 0
    even = {"a": table(a), "b": table(a + difference - difference.mean() + error)}
    assert best_set(even).keys == ("b", "a")
    assert best_set(even).shortfall["b"] == pytest.approx(0.67 * error, rel=0.2)


def test_a_minimised_metric_is_the_mirror_image(table) -> None:
    rng = np.random.default_rng(1)
    values = {key: rng.normal(mean, 0.3, 80) for key, mean in (("a", 2.0), ("b", 2.05), ("c", 3.0))}
    down = best_set({k: table(v) for k, v in values.items()}, direction=MINIMIZE)
    up = best_set({k: table(-v) for k, v in values.items()})
    assert down.keys == up.keys == ("a", "b")
    assert down.shortfall == pytest.approx(up.shortfall)


def test_one_trial(table) -> None:
    assert best_set({"a": table([0.1, 0.5, 0.3])}) == BestSet(keys=("a",), shortfall={"a": 0.0})


def test_identical_files_are_tied(table) -> None:
    values = np.random.default_rng(0).random(50)
    found = best_set({key: table(values) for key in "abc"})
    assert found == BestSet(keys=("a", "b", "c"), shortfall={"a": 0.0, "b": 0.0, "c": 0.0})


def test_identical_files_beside_others(table) -> None:
    rng = np.random.default_rng(0)
    values = rng.random(50)
    others = {"c": table(values + rng.normal(0, 0.1, 50)), "d": table(values - 1 + rng.normal(0, 0.1, 50))}
    twice = best_set({"a": table(values), "b": table(values)} | others)
    once = best_set({"a": table(values)} | others)
    assert set(twice.keys) == {"a", "b", "c"}
    assert twice.shortfall["a"] == twice.shortfall["b"] == pytest.approx(once.shortfall["a"])
    assert twice.shortfall["d"] == pytest.approx(once.shortfall["d"])


def test_the_same_advantage_on_every_example_tells_nothing_about_chance(table) -> None:
    values = np.random.default_rng(0).random(50)
    found = best_set({"a": table(values), "b": table(values + 0.001)})
    assert found.keys == ("b", "a")
    assert found.shortfall == {"a": np.inf, "b": np.inf}


def test_all_scores_zero_are_tied(table) -> None:
    found = best_set({key: table([0.0] * 20) for key in "abc"})
    assert found == BestSet(keys=("a", "b", "c"), shortfall={"a": 0.0, "b": 0.0, "c": 0.0})


@pytest.mark.parametrize("groups", [["g"] * 20, ["g", "h"] * 10])
def test_few_groups_tell_little(table, groups) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(20), rng.random(20) - 0.3
    found = best_set({"b": table(b, groups=groups), "a": table(a, groups=groups)})
    assert found.keys == ("a", "b")
    if len(set(groups)) == 1:
        assert found.shortfall == {}
    else:
        assert found.shortfall["b"] > a.mean() - b.mean()


def test_one_example_tells_nothing_about_chance(table) -> None:
    assert best_set({"a": table([0.2]), "b": table([0.9])}) == BestSet(keys=("b", "a"), shortfall={})


def test_a_trial_without_a_value_on_some_units_stays_possible(table) -> None:
    # All tokens are in one group: without it the mean is 0/0.
    held = table([1, 2, 3, 4], groups=["g", "h", "g", "h"])
    sums = {"loss": np.array([[1.0, 1], [0, 0], [3, 1], [0, 0]])}
    odd = replace(held, statistics=sums, aggregate={"loss": 2.0})
    even = replace(held, statistics={"loss": np.ones((4, 2))}, aggregate={"loss": 1.0})
    found = best_set({"odd": odd, "even": even}, "loss", MINIMIZE)
    assert found.keys == ("even", "odd")
    assert found.shortfall["odd"] == math.inf


def test_corpus_metrics(by_group) -> None:
    for metric in ("bleu", "chrf"):
        found = best_set(by_group, metric)
        assert "0003" not in found.keys
        assert by_group[found.keys[0]].aggregate[metric] == max(
            t.aggregate[metric] for t in by_group.values()
        )


def test_far_trials_do_not_widen_the_set(table) -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(0.5, 0.2, 100)
    near = {f"n{i}": table(shared + rng.normal(0, 0.1, 100)) for i in range(5)}
    far = {f"f{i}": table(shared - 0.4 + rng.normal(0, 0.1, 100)) for i in range(20)}
    found = best_set(near | far)
    assert set(found.keys) <= set(near)
    assert len(found.keys) >= 2


def test_candidates_are_the_best_of_the_set(by_group) -> None:
    assert candidates(by_group, "rougeL", MAXIMIZE, seed=0) == ("0011", "0008", "0006", "0009")
    assert candidates(by_group, "rougeL", MAXIMIZE, seed=0, most=2) == ("0011", "0008")
    assert candidates(by_group, "loss", MINIMIZE, seed=0) == ("0011",)
    assert candidates({}, "rougeL", MAXIMIZE, seed=0) == ()


def test_candidates_leave_out_what_cannot_be_compared(table) -> None:
    tables = {
        "a": table([0.2, 0.4]),
        "b": table([0.9]),
        "c": table([0.2, float("nan")]),
        "d": table([0.3, 0.3]),
    }
    assert set(candidates(tables, "rougeL", MAXIMIZE, seed=0)) == {"a", "d"}
