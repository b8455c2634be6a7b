"""Summaries of trainings on new seeds, against textbook values and a simulation."""

import numpy as np
import pytest
from scipy import stats

from loratory.reports.statistics.settings import places, seeds_needed, summarise


def test_the_summary_of_five_scores_is_the_textbooks():
    found = summarise([0.22, 0.25, 0.23, 0.26, 0.24])
    assert found.values == (0.22, 0.25, 0.23, 0.26, 0.24)
    assert found.mean == pytest.approx(0.24)
    assert found.sd == pytest.approx(0.0158114, rel=1e-5)
    assert (found.low, found.high) == (0.22, 0.26)
    half = 2.776445 * 0.0158114 * np.sqrt(1.2)  # t with 4 degrees of freedom at 0.975
    assert (found.next_low, found.next_high) == pytest.approx((0.24 - half, 0.24 + half), rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_holds_the_next_score_as_often_as_it_says(count):
    draws = np.random.default_rng(count).normal(0.25, 0.0075, size=(4000, count + 1))
    found = [summarise(row[:count]) for row in draws]
    held = [s.next_low <= row[count] <= s.next_high for s, row in zip(found, draws, strict=True)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


def test_another_level_takes_another_quantile():
    wide, narrow = summarise([1.0, 2.0, 4.0], level=0.99), summarise([1.0, 2.0, 4.0], level=0.8)
    ratio = (wide.next_high - wide.mean) / (narrow.next_high - narrow.mean)
    assert ratio == pytest.approx(stats.t.ppf(0.995, 2) / stats.t.ppf(0.9, 2))


def test_one_score_has_no_spread_and_no_interval():
    found = summarise([0.5])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    assert (found.sd, found.next_low, found.next_high) == (None, None, None)


def test_equal_scores_have_an_interval_of_no_width():
    found = summarise([0.5, 0.5, 0.5])
    assert (found.sd, found.next_low, found.next_high) == (0.0, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_what_is_no_score_is_refused(values):
    with pytest.raises(ValueError, match="scores must be finite numbers, at least one"):
        summarise(values)


def test_places_follow_the_direction_and_equal_means_keep_their_order():
    means = {11: 0.2348, 8: 0.2459, 6: 0.2348}
    assert places(means, sign=1.0) == {8: 1, 11: 2, 6: 3}
    assert places(means, sign=-1.0) == {11: 1, 6: 2, 8: 3}
    assert places({}, sign=1.0) == {}


def test_seeds_needed_tell_a_difference_four_times_in_five() -> None:
    needed = seeds_needed(0.02, 0.03)
    assert needed == 36  # some 35, as the normal approximation has it
    draw = np.random.default_rng(0)
    samples = draw.normal([[[0.02]], [[0.0]]], 0.03, (2, 4_000, needed))
    told = stats.ttest_ind(*samples, axis=1).pvalue < 0.05
    assert told.mean() == pytest.approx(0.8, abs=0.03)
    assert seeds_needed(-0.5, 0.03) == 2
    assert seeds_needed(0.0, 0.03) is None
