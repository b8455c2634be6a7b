"""A base whose sequences cannot share a row trains and scores one trial at a time, with right results."""

import pytest
import torch
from peft import PeftModel

from loratory.objectives.events import Finished, Ready, Score, Scored, Split
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.verification.plain_evaluation import evaluate


@pytest.fixture(scope="module")
def study(make_study, base_folder):
    return make_study(
        model={"base": str(base_folder("bloom"))},
        evaluation={"metrics": ["rougeL"], "evaluations": 2},
        metric="rougeL",
        packing={"slots": 3},
        training={"target_modules": "all-linear", "dropout": 0.0},
    )


def test_it_says_so_and_scores_as_plain_peft_does(
    study, make_objective, make_trial, drive, adapter_folder, data
):
    objective = make_objective(study)
    assert objective.capacity == 1
    events = drive(objective, make_trial(study))
    (ready,) = [event for event in events if isinstance(event, Ready)]
    assert any("one trial at a time" in note for note in ready.notes)
    finished = events[-1]
    assert isinstance(finished, Finished)

    reference = load_base(study.model, resolve_base(study.model))
    reference.model = PeftModel.from_pretrained(reference.model, str(adapter_folder(finished.adapter)))
    with torch.no_grad():
        expected = evaluate(reference, study, data.select)
    assert finished.scores.aggregate == pytest.approx(expected.scores.aggregate, rel=1e-5)
    assert finished.predictions == expected.predictions


def test_the_bare_base_is_scored_without_an_adapter(study, make_objective, data):
    objective = make_objective(study)
    events = objective.advance([Score(key="base", split=Split.TEST)])
    while not (scored := [event for event in events if isinstance(event, Scored)]):
        events = objective.advance([])
    expected = evaluate(load_base(study.model, resolve_base(study.model)), study, data.test)
    assert scored[0].predictions == expected.predictions
