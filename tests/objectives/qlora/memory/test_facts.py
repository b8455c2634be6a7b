"""The workload of a study."""

import pytest

from loratory.objectives.qlora.memory.facts import slots_for_sampler


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trials": 32}, 5),
        ({"trials": 32, "resources": {"workers": 2}}, 2),
        ({"trials": 32, "resources": {"workers": 8}}, 1),
        ({"trials": 10}, None),  # TPE draws ten at random
        ({"trials": 12}, 2),
        ({"trials": 12, "sampler": {"name": "tpe", "startup_trials": 12}}, None),
        ({"trials": 32, "sampler": "random"}, None),
        ({"trials": 49, "sampler": "nsga2"}, None),
        ({"trials": 60, "sampler": "nsga2"}, 10),
        ({"trials": 12, "sampler": "cmaes"}, 2),
    ],
)
def test_slots_that_let_a_sampler_see(make_study, changes, expected):
    assert slots_for_sampler(make_study(**changes)) == expected
