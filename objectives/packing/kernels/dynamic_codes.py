"""The 8-bit codes of blockwise dynamic quantisation (Dettmers et al., "8-bit Optimizers via Block-wise
Quantization", 2022), as bitsandbytes makes them: more codes per decade the larger the numbers are.
"""

from functools import cache
from typing import NamedTuple

import torch

BLOCK = 256
"""Numbers that share one scale."""

_DECADES = 7


class BlockCodes(NamedTuple):
    """Quantised numbers: number i is `codes[i]`'s value times `scales[i // BLOCK]`.

    Attributes:
        codes: uint8 [n], index of each number's code.
        scales: fp32 [ceil(n / BLOCK)], the number of each block that is largest in size, with its sign.
    """

    codes: torch.Tensor
    scales: torch.Tensor


@cache
def code_values(device: torch.device, *, signed: bool) -> torch.Tensor:
    """Return the values of the codes, fp32 [256], rising from about -1 (0 if not `signed`) to exactly 1.

    Decade e of 0 to 6 lies below 10^(e - 6) and has 2^e values of each sign (2^(e + 1) where there is no
    sign), the centres of equal parts of [0.1, 1] times 10^(e - 6). Exactly 0 and exactly 1 come besides.
    """
    values = [0.0, 1.0]
    for decade in range(_DECADES):
        parts = 2 ** (decade if signed else decade + 1)
        edges = torch.linspace(0.1, 1, parts + 1, dtype=torch.float32)
        centres = 10 ** (decade + 1 - _DECADES) * ((edges[:-1] + edges[1:]) / 2)
        values += centres.tolist() + ((-centres).tolist() if signed else [])
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)


@cache
def code_middles(device: torch.device, *, signed: bool) -> torch.Tensor:
    """Return the middles between adjacent codes, fp32 [255]; a code is the number of those below a value."""
    values = code_values(device, signed=signed)
    return (values[:-1] + values[1:]) / 2


def quantize(numbers: torch.Tensor, *, signed: bool) -> BlockCodes:
    """Quantise numbers [n], block by block.

    A block's scale is its largest number in size, with its sign, which thus becomes exactly 1: numbers that
    were read by `dequantize` get the same codes and scales again. A block without a normal fp32 number is
    zero. Zero stays exactly zero. Where not `signed`, what is positive stays positive: a second moment that
    became zero would make the next update too large.

    Args:
        numbers: [n], fp32 or wider; a block with NaN becomes NaN.
        signed: whether numbers may be negative.
    """
    blocks = torch.nn.functional.pad(numbers, (0, -len(numbers) % BLOCK)).view(-1, BLOCK)
    low, high = blocks.aminmax(dim=1)
    scales = torch.where(-low > high, low, high).float()
    scales = torch.where(scales.abs() < torch.finfo(torch.float32).tiny, 0.0, scales)
    ratios = (blocks / torch.where(scales == 0, 1.0, scales).unsqueeze(1)).float()
    ratios = torch.where(scales.unsqueeze(1) == 0, 0.0, ratios)
    codes = torch.bucketize(ratios, code_middles(numbers.device, signed=signed), out_int32=True)
    if not signed:
        codes = torch.maximum(codes, (blocks > 0).int())
    return BlockCodes(codes.view(-1)[: len(numbers)].to(torch.uint8), scales)


def dequantize(quantized: BlockCodes, *, signed: bool, dtype: torch.dtype) -> torch.Tensor:
    """Return the numbers [n] in a dtype."""
    values = code_values(quantized.codes.device, signed=signed)
    scales = quantized.scales.repeat_interleave(BLOCK)[: len(quantized.codes)]
    return values[quantized.codes.int()].to(dtype).mul_(scales)
