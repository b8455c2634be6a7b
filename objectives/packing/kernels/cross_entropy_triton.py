"""Cross-entropy over rows of logits as one Triton kernel; the plain twin is `cross_entropy`.

Program n computes losses[n] and d_logits[n, :] from logits[n, :], the target t = targets[n] and the weight
w = weights[n], and overwrites logits[n, :] with d_logits[n, :]:
losses[n] = norm - logits[n, t] with norm = log sum over v of exp logits[n, v], and
d_logits[n, v] = w (exp(logits[n, v] - norm) - [v = t]), 0 where w = 0.
A first loop over the row computes norm, with one running maximum and sum per lane; a second one the gradient.
"""

import torch
import triton
import triton.language as tl


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute losses, fp32 [N], and the gradient, which overwrites `logits`; see the plain twin."""
    losses = torch.empty(logits.shape[0], dtype=torch.float32, device=logits.device)
    columns = min(8192, triton.next_power_of_2(logits.shape[1]))
    _cross_entropy[(logits.shape[0],)](
        logits, losses, targets, weights, logits.shape[1], COLUMNS=columns, num_warps=8
    )
    return losses, logits


@triton.jit
def _cross_entropy(logits, losses, targets, weights, size, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    own = logits + row * size
    highest = tl.full([COLUMNS], float("-inf"), tl.float32)
    total = tl.zeros([COLUMNS], tl.float32)
    for start in range(0, size, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        x = tl.load(own + columns, mask=columns < size, other=float("-inf")).to(tl.float32)
        # In a lane with only -inf so far, -inf - -inf would be NaN.
        above = tl.maximum(tl.maximum(highest, x), -3.0e38)
        total = total * tl.exp(highest - above) + tl.exp(x - above)
        highest = above
    top = tl.max(highest, 0)
    norm = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    target = tl.load(targets + row)
    weight = tl.load(weights + row)
    tl.store(losses + row, norm - tl.load(own + target).to(tl.float32))
    tl.debug_barrier()
    for start in range(0, size, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        x = tl.load(own + columns, mask=columns < size, other=float("-inf")).to(tl.float32)
        gradient = tl.exp(x - norm) - tl.where(columns == target, 1.0, 0.0)
        gradient = tl.where(weight > 0, gradient * weight, 0.0)
        tl.store(own + columns, gradient.to(logits.dtype.element_ty), mask=columns < size)
