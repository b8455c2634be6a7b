from dataclasses import replace

import numpy as np
import pytest

from loratory.objectives.data.prepared import Example
from loratory.objectives.events import Finished, Reported
from loratory.objectives.qlora.scoring.evaluation import score_answers, text_job

METRICS = {"metric": "rougeL", "evaluation": {"metrics": ["rougeL", "bleu", "exact_match"]}}


def test_generation_metrics_drive_a_trial(make_study, make_objective, make_trial, drive):
    study = make_study(**METRICS)
    events = drive(make_objective(study), make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    values = [e.measurement.metrics["rougeL"] for e in events if isinstance(e, Reported)]
    assert values[finished.best_step - 1] == max(values)
    assert len(finished.predictions) == len(finished.scores.example_ids)


def test_classification_is_learned_and_scored(
    make_study, make_objective, make_trial, make_examples, data, drive
):
    study = make_study(
        metric="macro_f1",
        data={"task": "classification"},
        evaluation={"metrics": None},
        training={"epochs": 8.0, "learning_rate": 1e-2, "dropout": 0.0},
    )
    splits = {"train": 32, "dev": 6, "select": 12}
    labelled = replace(
        data,
        labels=("E", "O"),
        **{name: make_examples(count, 90 + count, labels=True) for name, count in splits.items()},
    )
    events = drive(make_objective(study, labelled), make_trial(study))
    finished = next(event for event in events if isinstance(event, Finished))
    assert {"loss", "accuracy", "macro_f1"} <= set(finished.scores.aggregate)
    assert finished.scores.aggregate["accuracy"] > 0.6
    assert {prediction.prediction for prediction in finished.predictions} <= {"E", "O"}


def test_extracted_answers_are_scored_and_predictions_are_kept_whole(make_study, make_examples):
    study = make_study(metric="exact_match", evaluation={"metrics": ["bleu"], "extract": r"\w+$"})
    examples = make_examples(3, 5)
    answers = ["what was asked: " + examples[0].reference.split()[-1], "other", "..."]
    texts = text_job(study, examples, answers, labels=())()
    found = score_answers(examples, loss_sums=np.ones(3), answers=answers, texts=texts)
    assert found.scores.metrics["exact_match"].tolist() == [1, 0, 0]
    assert found.scores.aggregate["unmatched"] == pytest.approx(1 / 3)
    assert [prediction.prediction for prediction in found.predictions] == answers
    assert "extract:" in found.scores.signatures["bleu"]
    assert "extract:" not in found.scores.signatures["loss"]


@pytest.mark.parametrize(
    ("score_thoughts", "expected"), [(True, [0.0, 0.0, 0.0, 1.0]), (False, [1.0, 0.0, 1.0, 1.0])]
)
def test_thoughts_may_be_left_out_of_what_is_scored(make_study, score_thoughts, expected):
    references = ("a\n</think>\n\nred", "a\n</think>\n\nred", "<think>b</think>red", "red")
    answers = ("other\n</think>\n\nred", "red without an end", "<think>c</think> red", "red")
    prompts = ("<think>\n", "<think>\n", "", "")
    examples = [
        Example(example_id=str(n), group="", prompt=p, reference=r, prompt_ids=(1,), answer_ids=(2,))
        for n, (p, r) in enumerate(zip(prompts, references, strict=True))
    ]
    study = make_study(evaluation={"metrics": ["exact_match"], "score_thoughts": score_thoughts})
    scored = text_job(study, examples, answers, ())()
    assert scored.metrics["exact_match"].tolist() == expected
    assert ("thoughts:no" in scored.signatures["exact_match"]) is not score_thoughts
