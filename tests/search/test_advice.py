import pytest

from loratory.search.advice import advice_on_first_trials


@pytest.mark.parametrize(
    ("at_once", "changes", "warned"),
    [
        (10, {}, True),
        (5, {}, True),
        (4, {}, False),
        (1, {}, False),
        (10, {"sampler": "random"}, False),
    ],
)
def test_a_study_of_which_half_starts_at_once_teaches_its_sampler_nothing(
    toy_study, at_once, changes, warned
):
    assert bool(advice_on_first_trials(toy_study(trials=10, **changes), at_once)) is warned


def test_how_many_start_at_once_is_said(toy_study):
    for at_once, words in ((10, "all 10 trials start"), (7, "7 of 10 trials start")):
        (line,) = advice_on_first_trials(toy_study(trials=10), at_once)
        assert words in line


def test_one_trial_has_nothing_to_learn_from(toy_study):
    assert advice_on_first_trials(toy_study(trials=1), 1) == []
