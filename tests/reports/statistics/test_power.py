import numpy as np
import pytest

from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.power import (
    detectable_difference,
    equal_spread_critical_value,
    examples_for,
    paired_deviation,
)
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction


def test_critical_values_are_dunnetts() -> None:
    # Dunnett (1955), one-sided, 5%, without limit of degrees of freedom: 1, 2, 5 and 9 comparisons.
    found = [equal_spread_critical_value(trials) for trials in (2, 3, 6, 10)]
    assert found == pytest.approx([1.64, 1.92, 2.23, 2.42], abs=0.006)
    assert equal_spread_critical_value(12) == pytest.approx(2.5, abs=0.03)
    assert equal_spread_critical_value(64) == pytest.approx(2.95, abs=0.03)
    assert equal_spread_critical_value(1) == 0
    assert 3.6 < equal_spread_critical_value(2000) < 3.8


def test_what_can_be_told_apart() -> None:
    assert detectable_difference(examples=200, trials=12) == pytest.approx(0.14, abs=0.01)
    assert detectable_difference(examples=1000, trials=64) == pytest.approx(0.064, abs=0.004)
    needed = examples_for(0.05, trials=12)
    assert detectable_difference(examples=needed, trials=12) <= 0.05
    assert detectable_difference(examples=needed - 1, trials=12) > 0.05


def test_a_difference_of_that_size_is_found_four_times_in_five(table) -> None:
    rng, trials, examples = np.random.default_rng(0), 8, 100
    gap = detectable_difference(examples=examples, trials=trials, deviation=2**0.5)
    drawn = resamples(examples, seed=0, count=400)
    missed = 0
    for _ in range(40):
        values = rng.normal(size=(trials, examples))
        values[0] += gap
        found, _ = scored({f"{i}": table(v) for i, v in enumerate(values)}, "rougeL", Direction.MAXIMIZE)
        missed += len(set(may_be_best(found, drawn).keys) - {"0"})
    assert 0.1 <= missed / (40 * (trials - 1)) <= 0.3


def test_spread_of_paired_differences_in_the_quickstart(by_group, by_example) -> None:
    for tables in (by_group, by_example):
        found, _ = scored(tables, "rougeL", Direction.MAXIMIZE)
        assert paired_deviation(found, jackknife(found)) == pytest.approx(0.54, abs=0.03)


@pytest.mark.parametrize(
    "values",
    [
        {"a": [0.1, 0.2]},
        {"a": [0.1], "b": [0.2]},
        {"a": [0, 0], "b": [0, 0]},
        {"a": [1, 1], "b": [0, 0]},
    ],
    ids=["one trial", "one example", "zero", "none competes"],
)
def test_nothing_to_measure(table, values) -> None:
    found, _ = scored({key: table(v) for key, v in values.items()}, "rougeL", Direction.MAXIMIZE)
    assert paired_deviation(found, jackknife(found)) is None
