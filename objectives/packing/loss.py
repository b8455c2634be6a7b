"""Output head and cross-entropy in one, over the places that have a target, a chunk of them at a time."""

from typing import Any

import torch
from torch import nn

_CHUNK_NUMBERS = 1 << 27  # logits held at once


def linear_cross_entropy(
    hidden: torch.Tensor,
    head: torch.Tensor,
    places: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a pass and of each target.

    Gradients are computed in the forward pass, so that the logits of no more than a chunk are ever held (the
    idea of Hsu et al., "Liger Kernel", 2024; here every target has a weight of its own).

    Args:
        hidden: [T, width], what the head reads.
        head: [V, width], frozen.
        places: int [N], the row of each target.
        targets: int [N].
        weights: fp32 [N].

    Returns:
        The weighted sum, a scalar, and the negative log likelihoods [N], which have no gradient; fp32 (fp64
        where `hidden` is).
    """
    loss, losses = _LinearCrossEntropy.apply(hidden, head, places, targets, weights)  # type: ignore[no-untyped-call]
    return loss, losses


class _LinearCrossEntropy(torch.autograd.Function):
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
        size = max(1, _CHUNK_NUMBERS // head.shape[0] // 256) * 256  # products like whole tiles
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            logits = hidden[rows[chunk]] @ head.t()
            if gradients is None:
                losses[chunk] = losses_of(logits, targets[chunk])
                continue
            losses[chunk], d_logits = cross_entropy(logits, targets[chunk], weights[chunk])
            torch.mm(d_logits, head, out=gradients[chunk])
        ctx.tokens = hidden.shape[0]
        ctx.save_for_backward(gradients, rows)
        ctx.mark_non_differentiable(losses)
        # Where a weight is zero its loss may be anything: it must not count.
        return torch.where(weights > 0, losses * weights, 0.0).sum(), losses

    @staticmethod
    def backward(ctx: Any, d_loss: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, rows = ctx.saved_tensors
        total = gradients.new_zeros(ctx.tokens, gradients.shape[1])
        # A row has one target; what padding adds to the first row is zero.
        total.index_add_(0, rows, gradients * d_loss.to(gradients.dtype))
        return total, None, None, None, None


def losses_of(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log likelihoods [N] of targets int [N] under logits [N, V]; at least fp32."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return nn.functional.cross_entropy(logits.to(wide), targets.long(), reduction="none")


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log likelihoods, and the gradient of their weighted sum.

    Args:
        logits: [N, V]; may be overwritten.
        targets: int [N].
        weights: fp32 [N]; the gradient is zero where the weight is, whatever the logits.

    Returns:
        fp32 [N] (fp64 where the logits are), and the gradient [N, V] in the logits' dtype.
    """
    if logits.device.type == "cuda" and logits.dtype is not torch.float64:
        from loratory.objectives.packing.kernels import cross_entropy_triton

        return cross_entropy_triton.cross_entropy_(logits, targets, weights), logits
    wide = torch.promote_types(logits.dtype, torch.float32)
    index = targets.long().unsqueeze(1)
    likelihoods = nn.functional.log_softmax(logits, dim=1, dtype=wide)
    losses = -likelihoods.gather(1, index).squeeze(1)
    gradient = likelihoods.exp_()
    gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand(index.shape))
    gradient.mul_(weights.unsqueeze(1))
    if not weights.all():
        gradient.masked_fill_(weights.unsqueeze(1) == 0, 0.0)
    return losses, gradient.to(logits.dtype)
