import pytest

from loratory.search.advice import advice


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"packing": {"slots": 5}, "resources": {"workers": 2}}, True),
        ({"packing": {"slots": 5}, "resources": {"workers": 2}, "sampler": "random"}, False),
        ({"packing": {"slots": 5}}, True),
        ({"packing": {"slots": 3}}, False),
        ({}, False),
    ],
)
def test_a_study_of_which_half_starts_at_once_teaches_its_sampler_nothing(toy_study, changes, warned):
    said = [line for line in advice(toy_study(trials=10, **changes)) if "start at once" in line]
    assert bool(said) is warned


def test_how_many_start_at_once_is_said(toy_study):
    for slots, words in ((9, "all 10 trials start"), (6, "7 of 10 trials start")):
        assert any(words in line for line in advice(toy_study(trials=10, packing={"slots": slots})))
