import numpy as np

from loratory.objectives.events import Finished, Split
from loratory.objectives.qlora.verification import score_adapter


def test_scores_of_a_finished_trial_are_reproduced(
    make_study, make_prepared, make_objective, make_trial, drive, adapter_folder
):
    study = make_study(metric="rougeL", evaluation={"metrics": ["rougeL", "bleu"]})
    events = drive(make_objective(study), make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    again = score_adapter(study, make_prepared(study), adapter_folder(finished.adapter), Split.SELECT)
    assert again.aggregate == finished.scores.aggregate
    assert again.example_ids == finished.scores.example_ids
    for name, values in finished.scores.metrics.items():
        np.testing.assert_array_equal(again.metrics[name], values)


def test_another_adapter_is_found_out(
    make_study, make_prepared, make_objective, make_trial, drive, adapter_folder
):
    study = make_study()
    objective = make_objective(study)
    first, second = (drive(objective, make_trial(study, number, seed=number))[-1] for number in (1, 2))
    scores = score_adapter(study, make_prepared(study), adapter_folder(second.adapter), Split.SELECT)
    assert scores.aggregate != first.scores.aggregate
