"""The three products of stacked adapters in plain PyTorch, slot by slot; see also `products_triton`.

With k the slot of token t, M a matrix per slot and D the dropout of a layer:
shrink      shrunk[t, r] = s[k] sum over f of D(x)[t, f] M[k, r, f], 0 for padding;
expand      y[t, f] = D(sum over r of shrunk[t, r] M[k, r, f]) + b[f], the sum 0 for padding;
accumulate  total[k, r, f] += sum over the tokens t of slot k of shrunk[t, r] D(wide)[t, f].
"""

import torch

from loratory.objectives.packing.dropout import Dropout
from loratory.objectives.packing.segments import Segments


def shrink(
    x: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    scaling: torch.Tensor,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multiply each token by its slot's matrix, transposed, and by the slot's scaling.

    Args:
        x: [T, F], in the compute dtype.
        matrix: M, [K, R, F].
        segments: the slot of each token.
        scaling: s, [K, 1, 1].
        dropout: D; None for no dropout.
        into: [T, R], where the result is written, possibly columns of a wider tensor; by default a new
            tensor.

    Returns:
        [T, R]; zero for padding.
    """
    shrunk = _rows_for(x, segments, columns=matrix.shape[1]) if into is None else into.zero_()
    for slot, start, end in segments.spans:
        own = x[start:end] if dropout is None else dropout.drop(x[start:end], slot, start)
        shrunk[start:end] = (own @ matrix[slot].T) * scaling[slot]
    return shrunk


def expand(
    shrunk: torch.Tensor,
    matrix: torch.Tensor,
    segments: Segments,
    *,
    bias: torch.Tensor | None = None,
    dropout: Dropout | None = None,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multiply each token by its slot's matrix, and add the bias.

    Args:
        shrunk: [T, R].
        matrix: M, [K, R, F].
        segments: the slot of each token.
        bias: b, [F], added for every token, padding included; None for no bias.
        dropout: D, applied to the product but not to the bias; None for no dropout.
        into: [T, F], a tensor to which the result is added in place; by default a new tensor.

    Returns:
        [T, F].
    """
    y = _rows_for(shrunk, segments, columns=matrix.shape[2]) if into is None else into
    for slot, start, end in segments.spans:
        if dropout is not None:
            own = dropout.drop(shrunk[start:end] @ matrix[slot], slot, start)
            y[start:end] = own if into is None else own + y[start:end]
        elif into is None:
            torch.mm(shrunk[start:end], matrix[slot], out=y[start:end])
        else:
            y[start:end].addmm_(shrunk[start:end], matrix[slot])
    return y if bias is None else y.add_(bias)


def accumulate(
    total: torch.Tensor,
    shrunk: torch.Tensor,
    wide: torch.Tensor,
    segments: Segments,
    *,
    dropout: Dropout | None = None,
) -> None:
    """Add the outer products of each slot's tokens to the slot's matrix of sums.

    Args:
        total: [K, R, F], fp32 or wider; added to in place.
        shrunk: [T, R].
        wide: [T, F].
        segments: the slot of each token.
        dropout: D; None for no dropout.
    """
    for slot, start, end in segments.spans:
        own = wide[start:end] if dropout is None else dropout.drop(wide[start:end], slot, start)
        total[slot] += shrunk[start:end].T @ own


def _rows_for(x: torch.Tensor, segments: Segments, *, columns: int) -> torch.Tensor:
    """Allocate a row for each row of x; zero for padding."""
    owned = sum(min(end, len(x)) - start for _, start, end in segments.spans)
    return (x.new_empty if owned == len(x) else x.new_zeros)(len(x), columns)
