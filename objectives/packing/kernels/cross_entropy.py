"""Cross-entropy over rows of logits with its gradient, in plain PyTorch; see also `cross_entropy_triton`.

For row n with target t, weight w and p = softmax(logits[n]):
losses[n] = -log p[t], and d_logits[n, v] = w (p[v] - [v = t]), 0 where w = 0.
"""

import torch
from torch import nn


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute negative log likelihoods, and the gradient of their weighted sum.

    Args:
        logits: [N, V]; may be overwritten.
        targets: int [N].
        weights: fp32 [N]; the gradient is zero where the weight is, whatever the logits.

    Returns:
        The losses, fp32 [N] (fp64 for fp64 logits), and the gradient [N, V] in the logits' dtype.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    index = targets.long().unsqueeze(1)
    log_likelihoods = nn.functional.log_softmax(logits, dim=1, dtype=wide)
    losses = -log_likelihoods.gather(1, index).squeeze(1)
    gradient = log_likelihoods.exp_()
    gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand(index.shape))
    gradient.mul_(weights.unsqueeze(1))
    if not weights.all():
        gradient.masked_fill_(weights.unsqueeze(1) == 0, 0.0)
    return losses, gradient.to(logits.dtype)
