"""AdamW with moments in 8-bit codes, over a part of a row, in plain PyTorch; see also `adamw_8bit_triton`.

Number i has the master weight p, the gradient g, the rate r (the learning rate, in some spans times a ratio)
and the moments m and v, which its codes and the scale of its block of 256 give. Step t is
m <- b1 m + (1 - b1) g,    v <- b2 v + (1 - b2) g^2,
p <- p (1 - r decay) - r (m / (1 - b1^t)) / (sqrt(v) / sqrt(1 - b2^t) + epsilon),
after which m and v are quantised again (`dynamic_codes.quantize`). The update reads m and v before that.
Where p, g, m and v are zero, they stay exactly zero. A g that is not finite makes p of its number NaN and the
moments of its block not finite: a caller that wants to go on must leave such a step out.
"""

import math
from dataclasses import dataclass

import torch

from loratory.objectives.packing.kernels.dynamic_codes import BlockCodes, dequantize, quantize


@dataclass(frozen=True, kw_only=True)
class AdamWStep:
    """The settings of one step.

    Attributes:
        number: t, from 1.
        learning_rate: the rate outside the spans.
        ratio: factor of the rate within the spans.
        edges: int64 [2 S], first index and end of each of S spans of the row, rising; None for no span.
        weight_decay: decoupled weight decay.
        betas: b1 and b2.
        epsilon: added to the root of the second moment.
    """

    number: int
    learning_rate: float
    ratio: float
    edges: torch.Tensor | None
    weight_decay: float
    betas: tuple[float, float]
    epsilon: float

    @property
    def corrections(self) -> tuple[float, float]:
        """1 - b1^t, and the root of 1 - b2^t."""
        return 1 - self.betas[0] ** self.number, math.sqrt(1 - self.betas[1] ** self.number)


def update(
    master: torch.Tensor,
    gradient: torch.Tensor,
    mean: BlockCodes,
    square: BlockCodes,
    step: AdamWStep,
    *,
    first: int,
) -> None:
    """Update a part of a row and its moments in place, all of them or, if this raises, none.

    Args:
        master: [n], fp32 or fp64.
        gradient: [n], of the same dtype.
        mean: the first moment.
        square: the second moment.
        step: the settings.
        first: index of the part's first number in the row, a multiple of 256.
    """
    (beta, other), (correction, root) = step.betas, step.corrections
    m = dequantize(mean, signed=True, dtype=master.dtype).mul_(beta).add_(gradient, alpha=1 - beta)
    v = dequantize(square, signed=False, dtype=master.dtype)
    v.mul_(other).addcmul_(gradient, gradient, value=1 - other)
    rates = _rates(step, first, master)
    updated = master * (1 - rates * step.weight_decay)
    updated -= rates / correction * m / v.sqrt().div_(root).add_(step.epsilon)
    mean_after, square_after = quantize(m, signed=True), quantize(v, signed=False)
    master.copy_(updated)
    for old, new in zip((*mean, *square), (*mean_after, *square_after), strict=True):
        old.copy_(new)


def _rates(step: AdamWStep, first: int, master: torch.Tensor) -> torch.Tensor:
    """Return the rates of a part's numbers, [n] or a scalar []."""
    rate = master.new_tensor(step.learning_rate)
    if step.edges is None:
        return rate
    places = torch.arange(first, first + len(master), device=master.device)
    within = torch.bucketize(places, step.edges, right=True) % 2 == 1
    return torch.where(within, rate * step.ratio, rate)
