import logging

import numpy as np
import pytest

from loratory.objectives.records import Provenance, TrialRecord, TrialState
from loratory.reports.importance import parameter_importance
from loratory.spaces.metric_names import Direction
from loratory.spaces.search_space import SearchSpace
from loratory.spaces.trial import trial_key

SPACE = SearchSpace.model_validate(
    {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "target_modules": ["all-linear", ["q_proj", "v_proj"]],
    }
)


def records(count: int, *, flat: bool = False) -> list[TrialRecord]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        rate, dropout = 10 ** rng.uniform(-5, -2), rng.uniform(0, 0.5)
        modules = "all-linear" if rng.random() < 0.5 else ["q_proj", "v_proj"]
        made.append(
            TrialRecord(
                study="s",
                key=trial_key(number),
                number=number,
                state=TrialState.COMPLETE,
                params={"learning_rate": rate, "dropout": dropout, "target_modules": modules},
                values=[0.5 if flat else float(-abs(np.log10(rate) + 3))],
                provenance=Provenance(seed=0),
            )
        )
    return made


@pytest.mark.parametrize("count", [12, 60])
def test_finds_the_parameter_that_decides(count: int) -> None:
    importance = parameter_importance(records(count), SPACE, Direction.MAXIMIZE)
    assert next(iter(importance.shares)) == "learning_rate"
    assert importance.shares["learning_rate"] > 0.6
    assert sum(importance.shares.values()) == pytest.approx(1)
    assert set(importance.shares) == set(SPACE.root)
    assert importance.trials == count
    assert ("rough" in importance.note) == (count < 50)


def test_few_trials_say_so() -> None:
    importance = parameter_importance(records(5), SPACE, Direction.MAXIMIZE)
    assert importance.shares == {}
    assert "too few complete trials: 5" in importance.note


def test_equal_values_do_not_pass_for_equal_importance() -> None:
    importance = parameter_importance(records(12, flat=True), SPACE, Direction.MAXIMIZE)
    assert importance.shares == {}
    assert "none stands out" in importance.note


def test_trials_of_another_space_are_left_out() -> None:
    odd = [r.model_copy(update={"params": {"rank": 4}}) for r in records(3)]
    assert parameter_importance([*records(12), *odd], SPACE, Direction.MAXIMIZE).trials == 12


def test_logs_nothing_of_its_own_study(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parameter_importance(records(12), SPACE, Direction.MAXIMIZE)
    assert not caplog.records
