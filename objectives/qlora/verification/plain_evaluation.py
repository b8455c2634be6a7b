"""Scores of one adapter by transformers and PEFT alone, without the engine: what users of the adapter get."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.data.prepared import Example
from loratory.objectives.data.special_tokens import AnswerReader
from loratory.objectives.packing.decoding.rows import until_end
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.memory.device import release_memory
from loratory.objectives.qlora.scoring.evaluation import Evaluation, score_answers, text_job
from loratory.objectives.qlora.verification.batches import Batch, collate, collate_prompts, longest_first
from loratory.spaces.study import StudySpec


@torch.no_grad()
def evaluate(
    base: Base,
    study: StudySpec,
    examples: Sequence[Example],
    *,
    labels: Sequence[str] = (),
    kept_ids: Sequence[int] = (),
) -> Evaluation:
    """Score examples; `loss` is always among the metrics.

    Nothing is decoded where the study asks for no metric but the loss: there are then no predictions.

    Args:
        base: the base with its active adapter, or none.
        study: names the metrics and how to decode.
        examples: n >= 1 of them.
        labels: every label of a classification task.
        kept_ids: special tokens that the text of an answer keeps.
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
        kept_ids=kept_ids,
    )
    texts = text_job(study, examples, answers, labels)()
    return score_answers(examples, loss_sums=sums, answers=answers, texts=texts)


@torch.no_grad()
def decode(
    base: Base,
    examples: Sequence[Example],
    *,
    max_new_tokens: int,
    batch_size: int,
    kept_ids: Sequence[int] = (),
) -> list[str]:
    """Greedy answers to the prompts, without special tokens and outer white space, in the given order.

    Args:
        base: the base with its active adapter, or none; its model in eval mode.
        examples: whose prompts to answer.
        max_new_tokens: longest answer; it ends earlier at any of the base's end tokens.
        batch_size: prompts decoded together; halved where memory runs out.
        kept_ids: special tokens that the text of an answer keeps.
    """
    answers: dict[int, str] = {}
    read = AnswerReader(base.tokenizer, kept_ids)

    def run(indices: Sequence[int]) -> None:
        chosen = [examples[index] for index in indices]
        prompts, mask = collate_prompts(chosen, padding_id=base.padding_id, device=base.device)
        with base.autocast():
            output = base.model.generate(
                input_ids=prompts, attention_mask=mask, max_new_tokens=max_new_tokens
            )
        for index, ids in zip(indices, output[:, prompts.shape[1] :].tolist(), strict=True):
            answers[index] = read(until_end(ids, base.end_ids))

    _in_batches(longest_first(len(e.prompt_ids) for e in examples), batch_size, base, run)
    return [answers[index] for index in range(len(examples))]


def answer_losses(base: Base, batch: Batch) -> torch.Tensor:
    """Negative log likelihood of every answer token, in nats.

    The output head sees the hidden states of the N answer places alone: with a large vocabulary it is most
    of the work and of the memory of a small model. What a base does to its logits (a cap, a scale) stays.

    Args:
        base: the base with its active adapter.
        batch: B examples with N answer tokens.

    Returns:
        fp32 [N], in the order of `batch.targets`.
    """

    def pick(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (arguments[0][batch.rows, batch.columns].unsqueeze(0), *arguments[1:])

    hook = base.model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        with base.autocast():
            logits = base.model(input_ids=batch.input_ids, use_cache=False).logits
    finally:
        hook.remove()
    return torch.nn.functional.cross_entropy(logits[0].float(), batch.targets, reduction="none")


def _loss_sums(base: Base, examples: Sequence[Example], *, batch_size: int) -> NDArray[np.float64]:
    sums = torch.zeros(len(examples), dtype=torch.float64)

    def run(indices: Sequence[int]) -> None:
        batch = collate([examples[i] for i in indices], padding_id=base.padding_id, device=base.device)
        losses = answer_losses(base, batch)
        summed = torch.zeros(len(indices), device=base.device).index_add_(0, batch.rows, losses)
        sums[list(indices)] = summed.to("cpu", torch.float64)

    _in_batches(longest_first(len(e) for e in examples), batch_size, base, run)
    return sums.numpy()


def _in_batches(indices: Sequence[int], size: int, base: Base, run: Callable[[Sequence[int]], None]) -> None:
    """Run over the indices in batches; where memory runs out, go on with batches half as large."""
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
