import numpy as np
import pytest

from loratory.reports.statistics.further_search import chance_of_change, trials_for_chance
from loratory.spaces.samplers import SamplerName

RANDOM, TPE = SamplerName.RANDOM, SamplerName.TPE


@pytest.mark.parametrize(("tried", "further"), [(12, 4), (12, 12), (48, 8), (1, 1)])
def test_chance_is_the_share_of_random_searches_whose_best_changes(tried, further):
    values = np.random.default_rng(0).normal(size=(20_000, tried + further))
    changed = (values.argmax(axis=1) >= tried).mean()
    assert chance_of_change(tried=tried, further=further, sampler=RANDOM) == pytest.approx(changed, abs=0.012)


def test_a_sampler_that_learns_changes_more():
    for further in (1, 4, 16):
        learned, random = (chance_of_change(tried=16, further=further, sampler=s) for s in (TPE, RANDOM))
        assert random < learned < min(1, 1.4 * random)


def test_ends():
    assert chance_of_change(tried=16, further=0, sampler=TPE) == 0
    assert chance_of_change(tried=0, further=3, sampler=TPE) == 1
    with pytest.raises(ValueError, match=">= 0, got -1 and 3"):
        chance_of_change(tried=-1, further=3, sampler=TPE)


def test_trials_for_a_chance():
    assert trials_for_chance(tried=20, chance=0.5, sampler=RANDOM) == 20
    found = trials_for_chance(tried=20, chance=0.5, sampler=TPE)
    assert chance_of_change(tried=20, further=found, sampler=TPE) >= 0.5
    assert chance_of_change(tried=20, further=found - 1, sampler=TPE) < 0.5
    with pytest.raises(ValueError, match="above 0 and below 1, got 1"):
        trials_for_chance(tried=20, chance=1, sampler=TPE)
