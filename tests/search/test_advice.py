import pytest

from loratory.search.advice import advice


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"packing": {"slots": 5}, "resources": {"workers": 2}}, True),
        ({"packing": {"slots": 5}, "resources": {"workers": 2}, "sampler": "random"}, False),
        ({"packing": {"slots": 5}}, False),
        ({}, False),
    ],
)
def test_a_study_whose_trials_all_start_at_once_teaches_its_sampler_nothing(toy_study, changes, warned):
    said = [line for line in advice(toy_study(trials=10, **changes)) if "start at once" in line]
    assert bool(said) is warned
