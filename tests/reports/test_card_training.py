from collections.abc import Callable

import pytest

from loratory.objectives.records import Provenance, TrialRecord
from loratory.reports.card_training import training_rules
from loratory.spaces.training import TrainingParameters

ORDER = "epoch e: permutation of seed and e"


@pytest.fixture
def make_record() -> Callable[..., TrialRecord]:
    def make(**fields: object) -> TrialRecord:
        known = {"study": "s", "key": "0003", "number": 3, "params": {}, "provenance": Provenance(seed=77)}
        return TrialRecord.model_validate(known | fields)

    return make


def test_names_what_another_program_needs(make_record: Callable[..., TrialRecord]) -> None:
    record = make_record(order=ORDER, optimizer_steps=1200, warmup_steps=60)
    updates, order = training_rules(record, TrainingParameters(dropout=0.1))
    assert "1,200 updates, the first 60 with a rising learning rate" in updates
    assert "`get_scheduler('cosine', ...)`" in updates
    assert f"`{ORDER}`" in order and "`torch.manual_seed(77)`" in order
    assert "Dropout draws masks" in order
    assert "Dropout" not in training_rules(record, TrainingParameters(dropout=0))[1]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("constant", "`get_scheduler('constant_with_warmup', ...)`"),
        ("linear_nonzero_start", "they are transformers' linear, but a warm-up"),
    ],
)
def test_names_the_schedule(make_record: Callable[..., TrialRecord], schedule: str, words: str) -> None:
    record = make_record(optimizer_steps=10, warmup_steps=0)
    [updates] = training_rules(record, TrainingParameters.model_validate({"schedule": schedule}))
    assert "10 updates, without a warm-up" in updates and words in updates


def test_says_nothing_that_the_record_does_not_hold(make_record: Callable[..., TrialRecord]) -> None:
    assert training_rules(make_record(), TrainingParameters()) == ()
