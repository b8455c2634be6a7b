"""The three products of stacked adapters, from slot to slot with PyTorch's own: on CPUs and in fp64.

What a GPU runs instead is in `products_triton.py`, with the same names, arguments and results.
"""

import torch

from loratory.objectives.packing.context import Segments
from loratory.objectives.packing.dropout import Dropout


def shrink(
    x: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    scaling: torch.Tensor,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """low[t] = s x[t] M[slot of t]^T.

    Args:
        x: [T, F], of the compute dtype.
        matrix: M, [K, R, F].
        segments: whose tokens are where.
        scaling: s, [K, 1, 1].
        dropout: dropped from x first.
        into: where the result goes; a new tensor unless given.

    Returns:
        [T, R]; zero where a token is nobody's.
    """
    low = _rows_for(x, segments, columns=matrix.shape[1]) if into is None else into.zero_()
    for slot, start, end in segments.spans:
        own = x[start:end] if dropout is None else dropout.drop(x[start:end], slot, start)
        low[start:end] = (own @ matrix[slot].T) * scaling[slot]
    return low


def expand(
    low: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    bias: torch.Tensor | None = None,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """y[t] = low[t] M[slot of t] + b.

    Args:
        low: [T, R].
        matrix: M, [K, R, F].
        segments: whose tokens are where.
        bias: b, [F], for every token, also where it is nobody's.
        dropout: drops from the product, not from the bias.
        into: y so far, [T, F], added to in place; zeros unless given.

    Returns:
        [T, F].
    """
    y = _rows_for(low, segments, columns=matrix.shape[2]) if into is None else into
    for slot, start, end in segments.spans:
        if dropout is not None:
            own = dropout.drop(low[start:end] @ matrix[slot], slot, start)
            y[start:end] = own if into is None else own + y[start:end]
        elif into is None:
            torch.mm(low[start:end], matrix[slot], out=y[start:end])
        else:
            y[start:end].addmm_(low[start:end], matrix[slot])
    return y if bias is None else y.add_(bias)


def accumulate(
    total: torch.Tensor,
    low: torch.Tensor,
    wide: torch.Tensor,
    segments: Segments,
    *,
    dropout: Dropout | None = None,
) -> None:
    """total[k] += sum over the tokens t of slot k of low[t]^T wide[t].

    Args:
        total: [K, R, F], fp32 or wider; added to in place.
        low: [T, R].
        wide: [T, F].
        segments: whose tokens are where.
        dropout: dropped from `wide` first.
    """
    for slot, start, end in segments.spans:
        own = wide[start:end] if dropout is None else dropout.drop(wide[start:end], slot, start)
        total[slot] += low[start:end].T @ own


def _rows_for(x: torch.Tensor, segments: Segments, *, columns: int) -> torch.Tensor:
    """A row for each of x; zero where a token is nobody's."""
    owned = sum(min(end, len(x)) - start for _, start, end in segments.spans)
    return (x.new_empty if owned == len(x) else x.new_zeros)(len(x), columns)
