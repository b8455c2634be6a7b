import numpy as np
import pytest
from scipy.stats import t

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.differences import paired_difference
from loratory.reports.statistics.fixed_interval import fixed_intervals
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.scored import scored
from loratory.spaces.metric_names import Direction

MAXIMIZE, MINIMIZE = Direction.MAXIMIZE, Direction.MINIMIZE


def intervals(tables, metric="rougeL", direction=MAXIMIZE) -> list[tuple[float, float]]:
    found, _ = scored(tables, metric, direction)
    bounds = fixed_intervals(found, jackknife(found))
    return list(zip(bounds.low.tolist(), bounds.high.tolist(), strict=True))


@pytest.mark.parametrize("direction", Direction)
def test_interval_of_a_mean_is_students(table, direction) -> None:
    values = np.random.default_rng(2).normal(0.5, 0.1, 30)
    expected = t.interval(0.95, 29, values.mean(), values.std(ddof=1) / 30**0.5)
    assert intervals({"a": table(values)}, direction=direction)[0] == pytest.approx(expected)


def test_few_groups_have_few_degrees_of_freedom(table) -> None:
    # 5 groups of 8 equal scores hold as much as 5 examples, not as 40.
    means = np.random.default_rng(3).normal(0.5, 0.1, 5)
    grouped = table(np.repeat(means, 8), groups=[f"g{i // 8}" for i in range(40)])
    expected = t.interval(0.95, 4, means.mean(), means.std(ddof=1) / 5**0.5)
    assert intervals({"a": grouped})[0] == pytest.approx(expected)


def test_fifty_of_fifty_right_is_no_certainty(table) -> None:
    [(low, high)] = intervals({"a": table([1.0] * 50)})
    assert (low, high) == pytest.approx((0.9287, 1), abs=1e-4)  # Wilson (1927)
    [(low, high)] = intervals({"a": table([100.0] * 50)})
    assert (low, high) == pytest.approx((92.87, 100), abs=1e-2)
    [(low, high)] = intervals({"a": table([0.0] * 50)})
    assert (low, high) == pytest.approx((0, 0.0713), abs=1e-4)


def test_share_of_right_examples_is_wilsons(table) -> None:
    [(low, high)] = intervals({"a": table([1.0] * 81 + [0.0] * 182)})
    # The standard error is not exactly that of independent examples: n - 1 stands in it for n.
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-3)  # 81 of 263: Newcombe (1998)


def test_right_examples_that_come_in_groups_tell_less(table) -> None:
    values = [1.0] * 40 + [0.0] * 40
    [(low, high)] = intervals({"a": table(values)})
    [(from_, to)] = intervals({"a": table(values, groups=[f"g{i // 10}" for i in range(80)])})
    assert to - from_ > 2.5 * (high - low)
    assert 0 <= from_ < to <= 1


@pytest.mark.parametrize(
    ("values", "groups"),
    [([0.3], None), ([0.3, 0.5], ["g", "g"]), ([0.3, 0.3], None)],
    ids=["one example", "one group", "all alike"],
)
def test_no_interval(table, values, groups) -> None:
    assert np.isnan(intervals({"a": table(values, groups=groups)})).all()


def test_two_groups_have_a_wide_one(table) -> None:
    [(low, high)] = intervals({"a": table([0.3, 0.5], groups=["g", "h"])})
    assert (low, high) == pytest.approx((0.4 - 12.706 * 0.1, 0.4 + 12.706 * 0.1), rel=1e-3)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_interval_of_a_corpus_metric(by_group, metric) -> None:
    low, high = intervals(by_group, metric)[-1]
    assert low < by_group["0011"].aggregate[metric] < high
    assert high - low < 1.5 * by_group["0011"].aggregate[metric]


def test_gain_over_the_base_on_test(quickstart) -> None:
    found, _ = scored(
        {
            key: ScoreTable.from_bytes((quickstart.path / "test" / key / "scores.npz").read_bytes())
            for key in ("base", "winner")
        },
        "rougeL",
        MAXIMIZE,
    )
    gain = paired_difference(found, jackknife(found), trial=1, other=0)
    assert gain == pytest.approx((0.167, 0.130, 0.203), abs=1e-3)


def test_a_difference_has_the_sign_of_the_metric(table) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(2, 0.3, 40)
    tables = {"a": table(a), "b": table(a - 0.5 + rng.normal(0, 0.1, 40))}
    found, _ = scored(tables, "rougeL", MINIMIZE)
    difference, low, high = paired_difference(found, jackknife(found), trial=1, other=0)
    assert low < difference < high < -0.4


def test_identical_files_do_not_differ(table) -> None:
    found, _ = scored({"a": table([0.1, 0.4]), "b": table([0.1, 0.4])}, "rougeL", MAXIMIZE)
    assert paired_difference(found, jackknife(found), trial=1, other=0) == (0, 0, 0)
