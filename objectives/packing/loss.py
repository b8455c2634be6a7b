"""Output head and cross-entropy in one function, over the tokens that have a target, in chunks of targets."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from loratory.objectives.packing.kernels.selection import cross_entropy_for

CHUNK_NUMBERS = 1 << 27
"""Logits in memory at once, unless a smaller number is asked for."""

_TILE, _SMALL_TILE = 256, 64  # targets; whole tiles of a matrix product


class _Losses(Protocol):
    """Computes the losses [n] of targets from the head's inputs [n, width].

    Where `into` [n, width] is given, the gradient of their weighted sum is written into it; it is zero where
    the weight is.
    """

    def __call__(
        self, x: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, into: torch.Tensor | None
    ) -> torch.Tensor: ...


def linear_cross_entropy(
    hidden: torch.Tensor,
    head: torch.Tensor,
    places: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    chunk_numbers: int = CHUNK_NUMBERS,
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
        chunk_numbers: logits in memory at once; see `chunk_of_targets`.

    Returns:
        The weighted sum of the losses, a scalar, and the losses (negative log likelihoods) [N], which have no
        gradient; fp32 (fp64 where `hidden` is).
    """
    size = chunk_of_targets(head.shape[0], chunk_numbers)
    return _in_chunks(hidden, places, targets, weights, partial(_of_linear, head), size)


def own_head_cross_entropy(
    hidden: torch.Tensor,
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    places: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    vocabulary: int,
    chunk_numbers: int = CHUNK_NUMBERS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute what `linear_cross_entropy` does, for any head.

    Args:
        hidden: [T, width], the input of the head.
        logits_of: the head with all that the model does to logits, row by row: [n, width] to [n, V]; frozen.
        places: int [N], the row of `hidden` that predicts each target.
        targets: int [N].
        weights: fp32 [N].
        vocabulary: V.
        chunk_numbers: logits in memory at once, in the compute dtype; a few fp32 copies come besides.
    """
    size = chunk_of_targets(vocabulary, chunk_numbers)
    return _in_chunks(hidden, places, targets, weights, partial(_of_any, logits_of), size)


def chunk_of_targets(vocabulary: int, numbers: int = CHUNK_NUMBERS) -> int:
    """Return the targets whose logits are in memory at once: whole tiles, at least 64 targets."""
    targets = numbers // vocabulary
    tile = _TILE if targets >= _TILE else _SMALL_TILE
    return max(1, targets // tile) * tile


def _in_chunks(
    hidden: torch.Tensor,
    places: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    losses_of: _Losses,
    size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    loss, losses = _CrossEntropy.apply(hidden, places, targets, weights, losses_of, size)  # type: ignore[no-untyped-call]
    return loss, losses


class _CrossEntropy(torch.autograd.Function):
    """See `linear_cross_entropy`; `losses_of` computes `size` targets at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        places: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        losses_of: _Losses,
        size: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted, rows = ctx.needs_input_grad[0], places.long()
        gradients = hidden.new_empty(len(rows), hidden.shape[1]) if wanted else None
        losses = hidden.new_empty(len(rows), dtype=torch.promote_types(hidden.dtype, torch.float32))
        # Without gradients there is no kernel that works in place: fp32 copies take four times the logits.
        size = size if wanted else max(1, size // 4)
        for start in range(0, len(rows), size):
            chunk = slice(start, start + size)
            into = None if gradients is None else gradients[chunk]
            losses[chunk] = losses_of(hidden[rows[chunk]], targets[chunk], weights[chunk], into=into)
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
        return total, None, None, None, None, None


def _of_linear(
    head: torch.Tensor,
    x: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    into: torch.Tensor | None,
) -> torch.Tensor:
    """Compute the losses of a head [V, width] that is a matrix and nothing else; see `_Losses`."""
    logits = x @ head.t()
    if into is None:
        return negative_log_likelihoods(logits, targets)
    kernels = cross_entropy_for(x.device, x.dtype)
    losses, d_logits = kernels.cross_entropy(logits, targets, weights)
    torch.mm(d_logits, head, out=into)
    return losses  # type: ignore[no-any-return]


def _of_any(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    into: torch.Tensor | None,
) -> torch.Tensor:
    """Compute the losses of any head by autograd; see `_Losses`."""
    if into is None:
        return negative_log_likelihoods(logits_of(x), targets)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        losses = negative_log_likelihoods(logits_of(leaf), targets)
        weighted = torch.where(weights > 0, losses * weights, 0.0).sum()
        (gradient,) = torch.autograd.grad(weighted, leaf)
    # The gradient of a loss without weight may be NaN.
    into.copy_(gradient.masked_fill_(weights.unsqueeze(1) == 0, 0.0))
    return losses.detach()


def negative_log_likelihoods(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Compute the losses [N] of targets int [N] under logits [N, V], in fp32 or wider."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return nn.functional.cross_entropy(logits.to(wide), targets.long(), reduction="none")
