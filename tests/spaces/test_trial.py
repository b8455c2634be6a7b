from loratory.spaces import StudySpec, TrialSpec, resolve_trial
from loratory.spaces.trial import derive_seed


def test_a_trial_holds_the_sampled_values_over_the_fixed_ones():
    space = {"target_modules": [["q_proj"], "all-linear"], "rank": [4, 8]}
    study = StudySpec.model_validate(
        {"name": "t", "objective": "toy", "seed": 3, "space": space, "training": {"dropout": 0.2}}
    )
    trial = resolve_trial(study, number=7, attempt=2, sampled={"target_modules": '["q_proj"]', "rank": 8})
    assert trial.params == {"target_modules": ["q_proj"], "rank": 8}
    assert (trial.training.target_modules, trial.training.rank, trial.training.dropout) == (
        ("q_proj",),
        8,
        0.2,
    )
    assert (trial.number, trial.attempt, trial.seed) == (7, 2, derive_seed(3, 7))
    assert TrialSpec.model_validate_json(trial.model_dump_json()) == trial


def test_seeds_differ_by_trial_and_study_and_stay_as_they_are():
    seeds = {derive_seed(study, number) for study in range(30) for number in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert (derive_seed(0, 0), derive_seed(7, 12)) == (1446583109, 112270097)
