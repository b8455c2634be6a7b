"""The training loss of a causal language model of transformers, with logits of answer tokens only."""

from typing import Any

import torch

from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.verification.batches import Batch


def answer_losses(base: Base, batch: Batch) -> torch.Tensor:
    """Compute the negative log likelihood of every answer token, in nats.

    The output head is applied to the hidden states of the N answer positions only: with a large vocabulary
    it takes most of the time and memory of a small model. Changes that a base makes to its logits (a cap, a
    scale) are kept.

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
