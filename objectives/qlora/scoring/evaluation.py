"""Scores of a model: the loss of reference answers, and metrics of greedily decoded answers.

`evaluator.py` computes both for many adapters at once, `verification/plain_evaluation.py` with PEFT alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.prepared import Example
from loratory.objectives.data.thoughts import after_thought, answer_alone
from loratory.objectives.metrics.jobs import Job
from loratory.objectives.metrics.scored_text import score_parts
from loratory.objectives.metrics.scoring import TextScores
from loratory.objectives.scores import Prediction, ScoreTable
from loratory.spaces.study import StudySpec

_LOSS_SIGNATURE = "negative log likelihood of the answer's tokens, in nats, mean over tokens"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores and the answers that they were computed on, in the order of the examples."""

    scores: ScoreTable
    predictions: tuple[Prediction, ...]

    @property
    def finite(self) -> bool:
        """True if every value over the whole split is finite."""
        return all(math.isfinite(value) for value in self.scores.aggregate.values())


def text_job(
    study: StudySpec, examples: Sequence[Example], answers: Sequence[str], labels: Sequence[str]
) -> Job:
    """Return the scoring of decoded answers as a call that can be sent to another process.

    Args:
        study: names the metrics, at least one.
        examples: n >= 1 examples.
        answers: n decoded texts.
        labels: every label of a classification task.
    """
    references = tuple(example.reference for example in examples)
    if not study.evaluation.score_thoughts:
        pairs = zip(answers, examples, strict=True)
        answers = [answer_alone(answer, prompt=example.prompt) for answer, example in pairs]
        references = tuple(after_thought(reference) for reference in references)
    return partial(
        score_parts,
        study.metrics,
        tuple(answers),
        references,
        evaluation=study.evaluation,
        labels=tuple(labels),
    )


def score_answers(
    examples: Sequence[Example],
    *,
    loss_sums: NDArray[np.float64],
    answers: Sequence[str] = (),
    texts: TextScores | None = None,
) -> Evaluation:
    """Combine losses and text scores of a model into an evaluation.

    Args:
        examples: n >= 1 examples.
        loss_sums: [n], negative log likelihood of each reference answer, in nats.
        answers: n decoded texts, or none.
        texts: scores of the answers; None if the study asks for no metric but the loss.
    """
    scores = _loss_scores(examples, loss_sums)
    if texts is None:
        return Evaluation(scores=scores, predictions=())
    predictions = tuple(_prediction(e, answer) for e, answer in zip(examples, answers, strict=True))
    merged = ScoreTable(
        example_ids=scores.example_ids,
        groups=scores.groups,
        metrics=scores.metrics | texts.metrics,
        statistics=scores.statistics | texts.statistics,
        signatures=scores.signatures | texts.signatures,
        aggregate=scores.aggregate | texts.aggregate,
    )
    return Evaluation(scores=merged, predictions=predictions)


def _loss_scores(examples: Sequence[Example], sums: NDArray[np.float64]) -> ScoreTable:
    tokens = np.array([len(example.answer_ids) for example in examples], dtype=np.float64)
    return ScoreTable(
        example_ids=tuple(example.example_id for example in examples),
        groups=tuple(example.group for example in examples),
        metrics={"loss": sums / tokens},
        statistics={"loss": np.stack([sums, tokens], axis=1)},
        signatures={"loss": _LOSS_SIGNATURE},
        aggregate={"loss": float(sums.sum() / tokens.sum())},
    )


def _prediction(example: Example, answer: str) -> Prediction:
    return Prediction(
        example_id=example.example_id,
        group=example.group,
        prompt=example.prompt,
        reference=example.reference,
        prediction=answer,
    )
