import pytest

from loratory.search.advice import advice, advice_on_first_trials


@pytest.mark.parametrize(
    ("at_once", "changes", "warned"),
    [
        (10, {}, True),
        (5, {}, True),
        (4, {}, False),
        (1, {"trials": 2}, False),
        (10, {"sampler": "random"}, False),
    ],
)
def test_a_study_of_which_half_starts_at_once_teaches_its_sampler_nothing(
    toy_study, at_once, changes, warned
):
    study = toy_study(**{"trials": 10} | changes)
    assert bool(advice_on_first_trials(study, at_once)) is warned


def test_how_many_start_at_once_is_said(toy_study):
    for at_once, words in ((10, "all 10 trials start"), (7, "7 of 10 trials start")):
        (line,) = advice_on_first_trials(toy_study(trials=10), at_once)
        assert words in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 20, "pruner": "hyperband"}, "hyperband splits 20 trials"),
        ({"trials": 60, "pruner": "hyperband"}, None),
        ({"sampler": "gp", "pruner": "median"}, "sampler gp does not learn from pruned trials"),
        ({"sampler": "gp", "pruner": "none"}, None),
        ({"sampler": "cmaes", "pruner": "none"}, "sampler cmaes draws categorical parameters at random"),
        ({}, None),
    ],
)
def test_what_is_legal_and_rarely_meant_is_said(toy_study, changes, words):
    lines = advice(toy_study(**changes))
    assert lines == [] if words is None else words in lines[0] and len(lines) == 1
