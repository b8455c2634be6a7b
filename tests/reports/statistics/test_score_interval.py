"""Tango's interval of paired shares, beside its definition."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from loratory.reports.statistics.score_interval import score_interval

Z = 1.959964


def ends(won, lost, examples, z=Z):
    low, high = score_interval(*(np.array([float(each)]) for each in (won, lost, examples)), z)
    return float(low[0]), float(high[0])


def statistic(difference, won, lost, examples):
    """The score statistic with the likeliest share of lost examples found by search."""

    def unlikely(share):
        chances = np.array([share + difference, share, 1 - 2 * share - difference])
        counts = np.array([won, lost, examples - won - lost])
        return -(counts * np.log(np.maximum(chances, 1e-300))).sum()

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (won - lost - examples * difference) / np.sqrt(
        examples * (2 * share + difference * (1 - difference))
    )


@pytest.mark.parametrize(("won", "lost", "examples"), [(5, 0, 50), (7, 3, 40), (1, 4, 12), (30, 60, 200)])
def test_ends_are_where_the_score_statistic_is_the_quantile(won, lost, examples):
    low, high = ends(won, lost, examples)
    assert low < (won - lost) / examples < high
    assert statistic(low, won, lost, examples) == pytest.approx(Z, abs=1e-4)
    assert statistic(high, won, lost, examples) == pytest.approx(-Z, abs=1e-4)


def test_zero_is_left_out_where_mcnemars_test_rejects():
    assert ends(4, 0, 50)[0] > 0  # 4 / sqrt(4) = 2.0
    assert ends(3, 0, 50)[0] < 0  # 1.73
    assert ends(10, 2, 50)[0] > 0  # 2.31
    assert ends(9, 3, 50)[0] < 0  # 1.73


def test_no_difference_in_sight_is_no_certainty():
    assert ends(0, 0, 50) == pytest.approx((-(Z**2) / (50 + Z**2), Z**2 / (50 + Z**2)))
    low, high = ends(50, 0, 50)
    assert 0.85 < low < 0.95 and high == 1


def test_ends_change_sign_with_the_models():
    low, high = ends(7, 3, 40)
    assert ends(3, 7, 40) == pytest.approx((-high, -low))


def test_with_students_quantile_four_of_fifty_tell_nothing_and_five_hardly():
    assert ends(4, 0, 50, z=2.0096)[0] < 0 < ends(5, 0, 50, z=2.0096)[0]
    assert binomtest(5, 5).pvalue == 0.0625  # McNemar's exact test is more careful than its level
