import numpy as np
import pytest
import safetensors.torch

from loratory.objectives.events import Finished, Split
from loratory.objectives.qlora.verification.adapter_scores import score_adapter


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_scores_of_a_finished_trial_are_reproduced(
    make_study, make_prepared, make_objective, make_trial, drive, adapter_folder, quantization
):
    study = make_study(
        metric="rougeL",
        evaluation={"metrics": ["rougeL", "bleu"]},
        model={"quantization": quantization},
    )
    events = drive(make_objective(study), make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    again = score_adapter(study, make_prepared(study), adapter_folder(finished.adapter), Split.SELECT)
    assert again.aggregate == pytest.approx(finished.scores.aggregate, rel=1e-6)
    assert again.example_ids == finished.scores.example_ids
    for name, values in finished.scores.metrics.items():
        np.testing.assert_allclose(again.metrics[name], values, rtol=1e-5)


@pytest.mark.parametrize("kind", ["Gemma3", "Mistral3"])
def test_adapter_of_a_multimodal_release_is_loaded_on_the_class_it_was_published_with(
    make_study, make_prepared, make_objective, make_trial, drive, adapter_folder, multimodal_folder, kind
):
    study = make_study(model={"base": str(multimodal_folder(kind))}, evaluation={"metrics": ["rougeL"]})
    finished = drive(make_objective(study), make_trial(study))[-1]
    names = safetensors.torch.load(finished.adapter["adapter_model.safetensors"])
    assert len(names) == 2 * 2 * 7
    assert all(name.startswith("base_model.model.model.language_model.layers.") for name in names)
    again = score_adapter(study, make_prepared(study), adapter_folder(finished.adapter), Split.SELECT)
    np.testing.assert_allclose(again.metrics["loss"], finished.scores.metrics["loss"], rtol=1e-5)
    np.testing.assert_array_equal(again.metrics["rougeL"], finished.scores.metrics["rougeL"])


def test_another_adapter_is_found_out(
    make_study, make_prepared, make_objective, make_trial, drive, adapter_folder
):
    study = make_study()
    objective = make_objective(study)
    first, second = (drive(objective, make_trial(study, number, seed=number))[-1] for number in (1, 2))
    scores = score_adapter(study, make_prepared(study), adapter_folder(second.adapter), Split.SELECT)
    assert scores.aggregate != first.scores.aggregate
