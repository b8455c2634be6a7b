import numpy as np
import pytest
from scipy.stats import ttest_rel

from loratory.reports.statistics.paired import Verdict, examples_needed, paired
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE


def drawn(count, gain, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.uniform(0.2, 0.8, count)
    return hard + gain + rng.normal(0, 0.05, count), hard + rng.normal(0, 0.05, count)


def test_interval_is_that_of_the_paired_t_test(table):
    first, second = drawn(60, 0.02)
    found = paired(table(first), table(second), "rougeL", MAXIMIZE)
    wanted = ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.values == pytest.approx((first.mean(), second.mean()))
    assert (found.unit, found.units, found.examples) == ("example", 60, 60)


def test_verdicts(table):
    first, second = (table(values) for values in drawn(200, 0.05))
    assert paired(first, second, "rougeL", MAXIMIZE).verdict is Verdict.BETTER
    assert paired(second, first, "rougeL", MAXIMIZE).verdict is Verdict.WORSE
    assert paired(first, second, "rougeL", MINIMIZE).verdict is Verdict.WORSE
    assert paired(first, first, "rougeL", MAXIMIZE).verdict is Verdict.CANNOT_TELL


def test_gain_is_positive_where_a_smaller_loss_is_better(table):
    first, second = ([value + 1 for value in values] for values in drawn(100, 0.05))
    found = paired(table(second, metric="loss"), table(first, metric="loss"), "loss", MINIMIZE)
    assert found.low > 0
    assert found.values[0] < found.values[1]


def test_groups_are_units_however_few_they_are(table):
    first, second = drawn(60, 0.02)
    groups = [f"g{i // 15}" for i in range(60)]
    found = paired(table(first, groups=groups), table(second, groups=groups), "rougeL", MAXIMIZE)
    assert (found.unit, found.units, found.rough) == ("group", 4, True)
    assert not paired(table(first), table(second), "rougeL", MAXIMIZE).rough


def test_needed_examples_tell_a_gain_of_that_size(table):
    gain, error, examples = 0.01, 0.008, 100
    needed = examples_needed(gain, error, examples)
    spread = error * examples**0.5
    gains = np.random.default_rng(0).normal(gain, spread / needed**0.5, 20_000)
    assert (gains > 1.96 * spread / needed**0.5).mean() == pytest.approx(0.8, abs=0.01)
    first, second = drawn(30, 0.005)
    found = paired(table(first), table(second), "rougeL", MAXIMIZE)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.needed > 30
    first, second = drawn(200, 0.05)
    assert paired(table(first), table(second), "rougeL", MAXIMIZE).needed is None
    assert paired(table(first), table(first), "rougeL", MAXIMIZE).needed is None


def test_what_cannot_be_compared(table):
    with pytest.raises(InputError, match="other examples"):
        paired(table([0.1, 0.2, 0.3]), table([0.1, 0.2]), "rougeL", MAXIMIZE)
    with pytest.raises(InputError, match="no bleu"):
        paired(table([0.1, 0.2]), table([0.1, 0.2]), "bleu", MAXIMIZE)
    with pytest.raises(InputError, match="2 examples or more, there is 1"):
        paired(table([0.1]), table([0.1]), "rougeL", MAXIMIZE)
    with pytest.raises(InputError, match="not finite"):
        paired(table([0.1, float("nan")]), table([0.1, 0.2]), "rougeL", MAXIMIZE)
