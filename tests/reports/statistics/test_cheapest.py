import json

import numpy as np
import pytest

from loratory.reports.statistics.cheapest import CheapestWithin, cheapest_within
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction


def cheapest(tables, cost, *, margin=0.05, direction=Direction.MAXIMIZE) -> CheapestWithin:
    found, _ = scored(tables, "rougeL", direction)
    return cheapest_within(found, jackknife(found), cost, margin=margin)


def test_quickstart(quickstart, by_group, by_example) -> None:
    paths = [quickstart.path / "trials" / key / "record.json" for key in by_group]
    cost = {p.parent.name: [json.loads(p.read_text())["adapter"]["size_bytes"]] for p in paths}
    for tables in (by_group, by_example):
        assert cheapest(tables, cost, margin=0.02).qualify == ()
        found = cheapest(tables, cost)
        assert (found.key, found.qualify) == (None, ())
        assert found.examples_needed["0008"] == pytest.approx(670, abs=10)
        assert next(iter(found.examples_needed)) == "0008"
        wider = cheapest(tables, cost, margin=0.1)
        assert (wider.key, wider.qualify) == ("0008", ("0008", "0011"))
        assert wider.examples_needed["0008"] <= 150 < wider.examples_needed["0006"]


def near(table, count=400):
    rng = np.random.default_rng(0)
    shared = rng.normal(0.5, 0.1, count)
    gaps = {"a": 0.0, "b": -0.002, "c": -0.1}
    return {key: table(shared + gap + rng.normal(0, 0.02, count)) for key, gap in gaps.items()}


def test_the_cheapest_of_those_that_are_near_enough(table) -> None:
    tables = near(table)
    assert cheapest(tables, {"a": [3.0], "b": [2.0], "c": [1.0]}).key == "b"
    assert cheapest(tables, {"a": [1.0], "b": [2.0], "c": [3.0]}).key == "a"
    assert cheapest(tables, {"a": [2.0, 1.0], "b": [2.0, 9.0], "c": [3.0, 0.0]}).key == "a"
    found = cheapest(tables, {"a": [3.0], "b": [2.0], "c": [1.0]})
    assert found.qualify == ("b", "a")
    assert "c" not in found.examples_needed


def test_examples_needed_are_those_at_which_it_qualifies(table) -> None:
    # More examples, with the same differences and spread.
    values = {key: held.metrics["rougeL"] for key, held in near(table, 40).items()}
    cost = {"a": [3.0], "b": [2.0], "c": [1.0]}
    gap = (values["a"] - values["b"]).mean()
    margin = 1.2 * gap / values["a"].mean()
    few = cheapest({key: table(v) for key, v in values.items()}, cost, margin=margin)
    assert "b" not in few.qualify
    needed = few.examples_needed["b"]
    assert 40 < needed < 10_000
    times = -(-needed // 40)
    more = {key: table(np.tile(v, times)) for key, v in values.items()}
    assert cheapest(more, cost, margin=margin).key == "b"


def test_a_minimised_metric(table) -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(2, 0.1, 300)
    gaps = {"a": 0.0, "b": 0.02, "c": 0.5}
    tables = {key: table(shared + gap + rng.normal(0, 0.02, 300)) for key, gap in gaps.items()}
    found = cheapest(tables, {"a": [3.0], "b": [2.0], "c": [1.0]}, direction=Direction.MINIMIZE)
    assert found.key == "b"


def test_identical_files_are_as_good(table) -> None:
    values = np.random.default_rng(0).random(50)
    found = cheapest({key: table(values) for key in "ab"}, {"a": [2.0], "b": [1.0]})
    assert (found.key, found.qualify) == ("b", ("b", "a"))
    assert found.examples_needed == {"b": 0, "a": 0}


def test_all_zero_are_as_good(table) -> None:
    assert cheapest({key: table([0.0] * 9) for key in "ab"}, {"a": [2.0], "b": [1.0]}).key == "b"


def test_one_trial_is_its_own_best(table) -> None:
    assert cheapest({"a": table([0.1, 0.9])}, {"a": [1.0]}).key == "a"


@pytest.mark.parametrize("groups", [None, ["g"]], ids=["one example", "one group"])
def test_one_unit_shows_nothing(table, groups) -> None:
    tables = {"a": table([0.5], groups=groups), "b": table([0.5], groups=groups)}
    found = cheapest(tables, {"a": [2.0], "b": [1.0]})
    assert (found.key, found.qualify, found.examples_needed) == (None, (), {})
