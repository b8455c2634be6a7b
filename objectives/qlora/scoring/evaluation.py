"""Scores of a model: the loss of reference answers, and metrics of greedily decoded answers.

`evaluate` computes both with transformers only; `evaluator.py` computes them for many adapters at once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.data.prepared import Example
from loratory.objectives.metrics.jobs import Job
from loratory.objectives.metrics.scoring import TextScores, score_texts
from loratory.objectives.packing.decoding.rows import until_end
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.memory.device import release_memory
from loratory.objectives.qlora.verification.batches import collate, collate_prompts, longest_first
from loratory.objectives.qlora.verification.forward import answer_losses
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


@torch.no_grad()
def evaluate(
    base: Base, study: StudySpec, examples: Sequence[Example], *, labels: Sequence[str] = ()
) -> Evaluation:
    """Score examples; the metrics always include `loss`.

    If the study asks for no metric but the loss, nothing is decoded and there are no predictions.

    Args:
        base: the base, with its active adapter if it has one.
        study: names the metrics and the limits of decoding.
        examples: n >= 1 examples.
        labels: every label of a classification task.
    """
    base.model.eval()
    sums = _loss_sums(base, examples, batch_size=study.evaluation.batch_size)
    if not study.metrics:
        return score_answers(examples, loss_sums=sums)
    answers = decode(
        base,
        examples,
        max_new_tokens=study.evaluation.max_new_tokens,
        batch_size=study.evaluation.batch_size,
    )
    texts = text_job(study, examples, answers, labels)()
    return score_answers(examples, loss_sums=sums, answers=answers, texts=texts)


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
    return partial(
        score_texts,
        study.metrics,
        tuple(answers),
        tuple(example.reference for example in examples),
        language=study.evaluation.language,
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


@torch.no_grad()
def decode(base: Base, examples: Sequence[Example], *, max_new_tokens: int, batch_size: int) -> list[str]:
    """Decode answers to the prompts greedily, without special tokens and outer white space.

    Args:
        base: the base, with its active adapter if it has one; its model in eval mode.
        examples: the examples with the prompts.
        max_new_tokens: longest answer in tokens; any of the base's end tokens ends it earlier.
        batch_size: prompts decoded together; halved if memory runs out.

    Returns:
        One answer per example, in the given order.
    """
    answers: dict[int, str] = {}

    def run(indices: Sequence[int]) -> None:
        chosen = [examples[index] for index in indices]
        prompts, mask = collate_prompts(chosen, padding_id=base.padding_id, device=base.device)
        with base.autocast():
            output = base.model.generate(
                input_ids=prompts, attention_mask=mask, max_new_tokens=max_new_tokens
            )
        for index, ids in zip(indices, output[:, prompts.shape[1] :].tolist(), strict=True):
            answers[index] = text_of(base.tokenizer, until_end(ids, base.end_ids))

    _in_batches(longest_first(len(e.prompt_ids) for e in examples), batch_size, base, run)
    return [answers[index] for index in range(len(examples))]


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of an answer, without special tokens and outer white space."""
    text: str = tokenizer.decode(
        ids,
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,  # some tokenizers remove spaces before punctuation
    )
    return text.strip()


def _loss_sums(base: Base, examples: Sequence[Example], *, batch_size: int) -> NDArray[np.float64]:
    sums = torch.zeros(len(examples), dtype=torch.float64)

    def run(indices: Sequence[int]) -> None:
        batch = collate([examples[i] for i in indices], padding_id=base.padding_id, device=base.device)
        losses = answer_losses(base, batch)
        summed = torch.zeros(len(indices), device=base.device).index_add_(0, batch.rows, losses)
        sums[list(indices)] = summed.to("cpu", torch.float64)

    _in_batches(longest_first(len(e) for e in examples), batch_size, base, run)
    return sums.numpy()


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


def _in_batches(indices: Sequence[int], size: int, base: Base, run: Callable[[Sequence[int]], None]) -> None:
    """Call `run` on batches of the indices; if memory runs out, continue with batches half as large."""
    done = 0
    while done < len(indices):
        chunk = indices[done : done + size]
        if _fits(chunk, run):
            done += len(chunk)
            continue
        release_memory(base.device)
        size = max(1, len(chunk) // 2)


def _fits(chunk: Sequence[int], run: Callable[[Sequence[int]], None]) -> bool:
    try:
        run(chunk)
    except Exception as error:
        if len(chunk) == 1 or not is_out_of_memory(error):
            raise
        return False
    return True


def _prediction(example: Example, answer: str) -> Prediction:
    return Prediction(
        example_id=example.example_id,
        group=example.group,
        prompt=example.prompt,
        reference=example.reference,
        prediction=answer,
    )
