import logging

import numpy as np
import optuna
import pytest

from loratory.objectives.records import Provenance, TrialRecord, TrialState
from loratory.reports.statistics.importance import parameter_importance
from loratory.spaces.metric_names import Direction
from loratory.spaces.search_space import SearchSpace
from loratory.spaces.trial import trial_key

MAXIMIZE = Direction.MAXIMIZE
SPACE = SearchSpace.model_validate(
    {
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "rank": {"type": "int", "low": 2, "high": 64, "log": True},
        "epochs": {"type": "int", "low": 1, "high": 9, "step": 2},
        "target_modules": ["all-linear", ["q_proj", "v_proj"]],
        "batch_size": [8],
    }
)


def params(rng) -> dict:
    return {
        "learning_rate": 10 ** rng.uniform(-5, -2),
        "dropout": rng.uniform(0, 0.5),
        "rank": int(rng.integers(2, 65)),
        "epochs": int(rng.choice([1, 3, 5, 7, 9])),
        "target_modules": "all-linear" if rng.random() < 0.5 else ["q_proj", "v_proj"],
        "batch_size": 8,
    }


def record(number: int, value: float | None, *, seed: int, state=TrialState.COMPLETE) -> TrialRecord:
    return TrialRecord(
        study="s",
        key=trial_key(number),
        number=number,
        state=state,
        params=params(np.random.default_rng([seed, number])),
        values=None if value is None else [value],
        provenance=Provenance(seed=0),
    )


def decided(count: int, *, seed: int = 0) -> list[TrialRecord]:
    """Trials whose learning rate alone decides."""
    made = [record(number, 0.0, seed=seed) for number in range(count)]
    return [r.model_copy(update={"values": [-abs(np.log10(r.params["learning_rate"]) + 3)]}) for r in made]


def noise(count: int, *, seed: int) -> list[TrialRecord]:
    values = np.random.default_rng(seed).random(count).tolist()
    return [record(number, value, seed=seed) for number, value in enumerate(values)]


@pytest.mark.parametrize("seed", range(2))
def test_quickstart(quickstart, quickstart_records, seed) -> None:
    space = quickstart.read_manifest().spec.space
    found = parameter_importance(quickstart_records, space, MAXIMIZE, seed=seed)
    assert found.trials == 12
    p = {association.parameter: association.p for association in found.associations}
    expected = {"learning_rate": 0.17, "rank": 0.40, "batch_size": 0.93, "epochs": 1.0}
    assert p == pytest.approx(expected, abs=0.04)
    assert found.shown == ()
    assert "So few trials cannot tell" in found.note


@pytest.mark.parametrize("count", [30, 80])
@pytest.mark.filterwarnings("ignore:Argument ``normalize``")
def test_divergences_are_optunas(count) -> None:
    records = decided(count)
    distributions = SPACE.distributions()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for each in records:
        encoded = SPACE.encode(each.params)
        study.add_trial(
            optuna.trial.create_trial(params=encoded, distributions=distributions, values=each.values)
        )
    quantile = max(0.1, 5 / count)
    expected = optuna.importance.get_param_importances(
        study,
        evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile),
        normalize=False,
    )
    found = parameter_importance(records, SPACE, MAXIMIZE, seed=0)
    # Optuna multiplies all by one factor.
    divergences = {a.parameter: a.divergence * quantile**2 for a in found.associations}
    assert divergences == pytest.approx(expected, rel=1e-6)


def test_the_parameter_that_decides_is_shown() -> None:
    found = parameter_importance(decided(60), SPACE, MAXIMIZE, seed=0)
    assert [association.parameter for association in found.shown] == ["learning_rate"]
    assert found.shown[0].p == pytest.approx(1 / 1001)
    assert "cannot tell" not in found.note


def test_noise_shows_something_in_one_study_of_twenty() -> None:
    shown = [bool(parameter_importance(noise(24, seed=s), SPACE, MAXIMIZE, seed=s).shown) for s in range(24)]
    assert sum(shown) <= 3


def test_a_minimised_metric_is_the_mirror_image() -> None:
    records = decided(30)
    mirrored = [r.model_copy(update={"values": [-r.values[0]]}) for r in records]
    up = parameter_importance(records, SPACE, MAXIMIZE, seed=0)
    assert parameter_importance(mirrored, SPACE, Direction.MINIMIZE, seed=0) == up


def test_pruned_trials_count_as_the_worst_and_others_do_not_count() -> None:
    records = decided(30)
    for _ in range(3):
        worst = min(records, key=lambda r: r.values[0] if r.values else np.inf)
        records[records.index(worst)] = worst.model_copy(update={"state": TrialState.PRUNED, "values": None})
    others = [
        record(40 + i, None, seed=0, state=state)
        for i, state in enumerate((TrialState.FAIL, TrialState.RUNNING, TrialState.INFEASIBLE))
    ]
    assert parameter_importance([*records, *others], SPACE, MAXIMIZE, seed=0) == parameter_importance(
        decided(30), SPACE, MAXIMIZE, seed=0
    )


def test_values_that_are_not_finite_are_left_out() -> None:
    odd = record(99, 0.0, seed=0).model_copy(update={"values": [float("nan")]})
    assert parameter_importance([*decided(12), odd], SPACE, MAXIMIZE, seed=0).trials == 12


def test_trials_of_another_space_are_left_out() -> None:
    odd = [r.model_copy(update={"params": {"rank": 4}}) for r in decided(3)]
    alien = [r.model_copy(update={"params": {"alpha": 4.0}}) for r in decided(3)]
    assert parameter_importance([*decided(12), *odd, *alien], SPACE, MAXIMIZE, seed=0).trials == 12


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_trials_say_so(count) -> None:
    found = parameter_importance(decided(count), SPACE, MAXIMIZE, seed=0)
    assert found.associations == ()
    assert f"too few trials: {count}, and 6" in found.note


def test_equal_values_show_nothing() -> None:
    flat = [r.model_copy(update={"values": [0.5]}) for r in decided(30)]
    found = parameter_importance(flat, SPACE, MAXIMIZE, seed=0)
    assert [a.divergence for a in found.associations] == pytest.approx([0] * 6, abs=1e-12)
    assert {a.p for a in found.associations} == {1.0}


def test_all_pruned_but_one() -> None:
    pruned = [r.model_copy(update={"state": TrialState.PRUNED, "values": None}) for r in decided(20)[1:]]
    found = parameter_importance([*decided(1), *pruned], SPACE, MAXIMIZE, seed=0)
    assert found.shown == ()


def test_logs_nothing(caplog) -> None:
    with caplog.at_level(logging.INFO):
        parameter_importance(decided(12), SPACE, MAXIMIZE, seed=0)
    assert not caplog.records


def test_too_few_complete_trials_are_told() -> None:
    pruned = [record(number, None, seed=0, state=TrialState.PRUNED) for number in range(8)]
    found = parameter_importance([record(9, 0.5, seed=0), *pruned], SPACE, MAXIMIZE, seed=0)
    assert found.associations == () and found.note == "too few complete trials: 1, and 2 are needed."
