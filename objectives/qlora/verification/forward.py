"""The training loss: logits of answers only, from any causal language model of transformers."""

from typing import Any

import torch

from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.verification.batches import Batch


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
