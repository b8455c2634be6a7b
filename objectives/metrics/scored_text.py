"""The part of a text that is scored: `evaluation.extract` takes the answer out before metrics see it."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loratory.objectives.metrics.scoring import TextScores, score_texts
from loratory.objectives.metrics.text_metric import mean_statistics
from loratory.spaces.data import EvaluationSpec

UNMATCHED = "unmatched"
"""Name of the share of predictions in which `evaluation.extract` finds no answer."""


def scored_part(text: str, evaluation: EvaluationSpec) -> str | None:
    """Return the part of a text that is scored; None if there is none.

    Args:
        text: a prediction or a reference.
        evaluation: names what to extract; without it the whole text is scored.
    """
    return text if evaluation.extract is None else _extracted(text, evaluation.extract)


def score_parts(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    evaluation: EvaluationSpec,
    labels: Sequence[str] = (),
) -> TextScores:
    """Score the parts of predictions that the study scores, each against that of its reference.

    A prediction without such a part is scored as an empty text, which no reference is: it is wrong.

    Args:
        names: metrics to compute.
        predictions: n >= 1 decoded answers.
        references: n expected answers, each with a part to score.
        evaluation: settings of the metrics, and what to extract.
        labels: every label of a classification task, in a fixed order.
    """
    parts = [scored_part(text, evaluation) for text in predictions]
    scores = score_texts(
        names,
        [part or "" for part in parts],
        [scored_part(text, evaluation) or "" for text in references],
        language=evaluation.language,
        labels=labels,
        bleu_tokenizer=evaluation.bleu_tokenizer,
        bleu_tokenizer_file=evaluation.bleu_tokenizer_file,
        rouge_stemmer=evaluation.rouge_stemmer,
    )
    if not evaluation.score_thoughts:
        scores = _marked(scores, "thoughts:no")
    if evaluation.extract is None:
        return scores
    return _with_unmatched(scores, [part is None for part in parts], evaluation.extract)


def _extracted(text: str, pattern: str) -> str | None:
    """Return group 1 of the last match, or the whole match without it, stripped; None if that is empty."""
    last = None
    for match in re.finditer(pattern, text):
        last = match
    if last is None:
        return None
    group = last.group(1) if last.re.groups else None
    return (last.group() if group is None else group).strip() or None


def _marked(scores: TextScores, mark: str) -> TextScores:
    """Return the scores with a mark at the end of each signature."""
    return replace(scores, signatures={name: f"{text}|{mark}" for name, text in scores.signatures.items()})


def _with_unmatched(scores: TextScores, unmatched: Sequence[bool], pattern: str) -> TextScores:
    values = np.array(unmatched, dtype=np.float64)
    scores = _marked(scores, f"extract:{pattern}")
    own = f"share of predictions in which extract finds nothing|extract:{pattern}"
    return replace(
        scores,
        aggregate={**scores.aggregate, UNMATCHED: float(values.mean())},
        metrics={**scores.metrics, UNMATCHED: values},
        statistics={**scores.statistics, UNMATCHED: mean_statistics(values)},
        signatures={**scores.signatures, UNMATCHED: own},
    )
