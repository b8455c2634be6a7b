"""Differences between models: right or wrong, in groups, all alike, and within the metric's range."""

import numpy as np
import pytest

from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.cheapest import cheapest_within
from loratory.reports.statistics.differences import difference_errors, gains_over
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.paired import Verdict, paired
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.score_interval import score_interval
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

MAXIMIZE = Direction.MAXIMIZE
GROUPS = [f"g{i // 5}" for i in range(50)]


def answers(*right, count=50):
    values = np.zeros(count)
    values[list(right)] = 1.0
    return values


def both(table, first, second, metric="accuracy", **rest):
    found, _ = scored(
        {"a": table(first, metric=metric, **rest), "b": table(second, metric=metric, **rest)},
        metric,
        MAXIMIZE,
    )
    return found


def test_right_or_wrong_is_tangos_interval(table):
    found = both(table, answers(*range(40)), answers(*range(5, 38)))
    gains = gains_over(found, jackknife(found), 1)
    low, high = score_interval(np.array([7.0]), np.array([0.0]), np.array([50.0]), 2.009575)
    assert gains.values[0] == pytest.approx(0.14)
    assert (gains.low[0], gains.high[0]) == pytest.approx((low[0], high[0]), abs=1e-6)


def test_few_examples_that_differ_for_the_same_model_are_not_taken_for_its_spread(table):
    """The jackknife's interval of 3 of 50 is [-0.008, 0.128] and of 4 of 50 [0.002, 0.158]."""
    most = answers(*range(40))
    four = paired(
        table(most, metric="accuracy"), table(answers(*range(4, 40)), metric="accuracy"), "accuracy", MAXIMIZE
    )
    assert four.verdict is Verdict.CANNOT_TELL
    assert four.high > 0.18


def test_equal_answers_leave_a_difference_open(table):
    right = answers(*range(40))
    found = paired(table(right, metric="accuracy"), table(right, metric="accuracy"), "accuracy", MAXIMIZE)
    assert (found.verdict, found.gain) == (Verdict.CANNOT_TELL, 0)
    assert found.high == -found.low == pytest.approx(0.0747, abs=1e-3)
    five = {key: table(answers(*range(40)), metric="accuracy") for key in "ab"}
    known, _ = scored(five, "accuracy", MAXIMIZE)
    best = may_be_best(known, resamples(50, seed=0))
    assert best.keys == ("a", "b") and best.shortfall["a"] > 0
    assert cheapest_within(known, jackknife(known), {"a": [1.0], "b": [2.0]}, margin=0.05).key is None


def test_what_is_right_for_one_model_on_all_examples_is_told(table):
    found = paired(
        table(answers(*range(50)), metric="accuracy"),
        table(answers(), metric="accuracy"),
        "accuracy",
        MAXIMIZE,
    )
    assert found.verdict is Verdict.BETTER and found.low < 1
    known = both(table, answers(*range(50)), answers())
    assert may_be_best(known, resamples(50, seed=0)).keys == ("a",)


def test_groups_divide_the_counts_by_the_design_effect(table):
    """All ten examples that differ are in two groups: they tell less than ten that are spread."""
    second = answers(*range(10, 50))
    alone = both(table, answers(*range(50)), second)
    grouped = both(table, answers(*range(50)), second, groups=GROUPS)
    spread = both(table, answers(*range(50)), answers(*(i for i in range(50) if i % 5)), groups=GROUPS)
    low = [float(gains_over(each, jackknife(each), 1).low[0]) for each in (alone, grouped, spread)]
    assert low[0] > 0.05 and low[1] < 0 < low[2]
    errors = [float(difference_errors(each, jackknife(each), 1)[0]) for each in (alone, grouped)]
    assert errors[1] > 1.5 * errors[0]


def test_the_same_difference_on_every_unit_tells_nothing(table):
    values = np.random.default_rng(0).uniform(0.2, 0.8, 50)
    found = paired(table(values + 0.01), table(values), "rougeL", MAXIMIZE)
    assert (found.verdict, found.interval, found.needed) == (Verdict.CANNOT_TELL, None, None)
    assert found.gain == pytest.approx(0.01)


def test_a_score_that_is_zero_everywhere_is_not_taken_for_right_or_wrong(table):
    assert both(table, answers(), answers(), metric="rougeL").right is None
    assert both(table, answers(), answers(), metric="exact_match").right is not None


def test_nothing_leaves_the_range_of_the_metric(table):
    groups = ["g"] * 5 + ["h"] * 5
    first, second = np.repeat([0.3, 0.9], 5), np.repeat([0.3, 0.1], 5)
    found = both(table, first, second, metric="rougeL", groups=groups)
    gains = gains_over(found, jackknife(found), 1)
    assert (gains.low[0], gains.high[0]) == (-1, 1)
    assert max(may_be_best(found, resamples(2, seed=0)).shortfall.values()) == 1
    loss = both(table, first + 5, second, metric="loss", groups=groups)
    assert gains_over(loss, jackknife(loss), 1).high[0] > 1
