"""Output head and cross-entropy in one function, over the tokens that have a target, in chunks of targets."""

from typing import Any

import torch
from torch import nn

from loratory.objectives.packing.kernels.selection import cross_entropy_for

_CHUNK_NUMBERS = 1 << 27  # logits in memory at once


def linear_cross_entropy(
    hidden: torch.Tensor,
    head: torch.Tensor,
    places: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the weighted loss of a pass and the loss of each target.

    Gradients are computed in the forward pass, so that no more than one chunk of logits is in memory (Hsu et
    al., "Liger Kernel", 2024; here with one weight per target).

    Args:
        hidden: [T, width], the input of the head.
        head: [V, width], frozen.
        places: int [N], the row of `hidden` that predicts each target.
        targets: int [N].
        weights: fp32 [N].

    Returns:
        The weighted sum of the losses, a scalar, and the losses (negative log likelihoods) [N], which have no
        gradient; fp32 (fp64 where `hidden` is).
    """
    loss, losses = _LinearCrossEntropy.apply(hidden, head, places, targets, weights)  # type: ignore[no-untyped-call]
    return loss, losses


def chunk_of_targets(vocabulary: int) -> int:
    """Return the targets whose logits are in memory at once."""
    return max(1, _CHUNK_NUMBERS // vocabulary // 256) * 256  # whole tiles of a matrix product


class _LinearCrossEntropy(torch.autograd.Function):
    """See `linear_cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        places: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted, rows = ctx.needs_input_grad[0], places.long()
        gradients = hidden.new_empty(len(rows), hidden.shape[1]) if wanted else None
        losses = hidden.new_empty(len(rows), dtype=torch.promote_types(hidden.dtype, torch.float32))
        size = chunk_of_targets(head.shape[0])
        kernels = cross_entropy_for(hidden.device, hidden.dtype)
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            logits = hidden[rows[chunk]] @ head.t()
            if gradients is None:
                losses[chunk] = negative_log_likelihoods(logits, targets[chunk])
                continue
            losses[chunk], d_logits = kernels.cross_entropy(logits, targets[chunk], weights[chunk])
            torch.mm(d_logits, head, out=gradients[chunk])
        ctx.tokens = hidden.shape[0]
        ctx.save_for_backward(gradients, rows)
        ctx.mark_non_differentiable(losses)
        # A loss without weight may be NaN or infinite, and must not count.
        return torch.where(weights > 0, losses * weights, 0.0).sum(), losses

    @staticmethod
    def backward(ctx: Any, d_loss: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, rows = ctx.saved_tensors
        total = gradients.new_zeros(ctx.tokens, gradients.shape[1])
        # Each row has one target. Padding adds its zero gradients to row 0.
        total.index_add_(0, rows, gradients * d_loss.to(gradients.dtype))
        return total, None, None, None, None


def negative_log_likelihoods(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Compute the losses [N] of targets int [N] under logits [N, V], in fp32 or wider."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return nn.functional.cross_entropy(logits.to(wide), targets.long(), reduction="none")
