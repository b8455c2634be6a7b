import pytest

from loratory.objectives.objective import Prepared
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.kind import QloraInput, trial_bytes
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.ranks import (
    largest_rank_that_fits,
    numbers_per_rank,
    trial_bytes_of_rank,
)


def test_a_trial_takes_twelve_bytes_per_number_of_its_row(make_study):
    study = make_study(training={"rank": 11, "target_modules": "all-linear"})
    architecture = read_architecture(resolve_base(study.model))
    stack = stack_size(study, architecture)
    numbers = numbers_per_rank(stack.layers)
    assert numbers * 16 == stack.numbers_per_slot  # ranks come in steps of 8
    given = QloraInput(data=None, reference=None, numbers_per_rank=numbers)
    found = trial_bytes(study, Prepared(payload=given), {"rank": 11})
    assert found == 12 * stack.numbers_per_slot == trial_bytes_of_rank(16, numbers_per_rank=numbers)


@pytest.mark.parametrize(
    ("most", "expected"), [(200, 128), (128, 128), (127, 120), (40, 40), (9, 8), (8, 8), (7, None)]
)
def test_the_largest_rank_that_fits_is_found_in_steps(make_study, most, expected):
    study = make_study(space={"rank": {"type": "int", "low": 2, "high": 128}})
    assert largest_rank_that_fits(study, lambda rank: rank <= most) == expected


@pytest.mark.parametrize(
    ("space", "most", "expected"),
    [
        ([512, 8, 16], 500, 16),
        ([8, 12, 512], 500, 16),
        ({"type": "int", "low": 4, "high": 68, "step": 32}, 66, 40),
    ],
)
def test_no_rank_counts_that_no_trial_has(make_study, space, most, expected):
    study = make_study(space={"rank": space})
    assert largest_rank_that_fits(study, lambda rank: rank <= most) == expected


def test_a_rank_that_is_fixed_fits_or_not(make_study):
    study = make_study(training={"rank": 12})
    assert largest_rank_that_fits(study, lambda rank: rank <= 16) == 12
    assert largest_rank_that_fits(study, lambda rank: rank <= 8) is None
