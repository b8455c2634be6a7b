import pytest
import torch

from loratory.objectives.packing.dropout import Dropout, DropoutKeys, levels, token_keys
from loratory.objectives.packing.kernels.products import accumulate, expand, shrink
from loratory.objectives.packing.segments import Segments, Span

T, R, F, K = 24, 8, 10, 3
SPANS = (Span(0, 0, 8), Span(2, 8, 16))
SLOT_OF = torch.tensor([*[0] * 8, *[2] * 8, *[-1] * 8])


@pytest.fixture
def given():
    torch.manual_seed(0)
    segments = Segments(granule=8, spans=SPANS, block_slots=torch.empty(0), bounds=torch.empty(0))
    x, low = (torch.randn(T, n, dtype=torch.float64) for n in (F, R))
    return x, low, torch.randn(K, R, F, dtype=torch.float64), segments


@pytest.fixture
def dropout():
    keys = torch.from_numpy(token_keys(seed=1, step=0, position=0, tokens=T))
    limits = torch.tensor([levels(p) for p in (0.5, 0.0, 0.2)], dtype=torch.int32)
    return Dropout(DropoutKeys(tokens=keys, thresholds=limits), salt=3)


def per_token(matrix):
    """The matrix of each token's slot; zero where it is nobody's."""
    return matrix[SLOT_OF.clamp(min=0)] * (SLOT_OF >= 0).view(T, 1, 1)


def dropped(dropout, x):
    return torch.cat([*(dropout.drop(x[start:end], slot, start) for slot, start, end in SPANS), x[16:]])


def test_products_are_those_of_each_tokens_own_matrix(given):
    x, low, matrix, segments = given
    scaling = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64).view(K, 1, 1)
    own = per_token(matrix)
    torch.testing.assert_close(
        shrink(x, matrix, segments, scaling=scaling),
        torch.einsum("tf,trf->tr", x, per_token(matrix * scaling)),
    )
    torch.testing.assert_close(expand(low, matrix, segments), torch.einsum("tr,trf->tf", low, own))
    bias = torch.randn(F, dtype=torch.float64)
    biased = expand(low, matrix, segments, bias=bias)
    torch.testing.assert_close(biased, torch.einsum("tr,trf->tf", low, own) + bias)
    total = torch.ones(K, R, F, dtype=torch.float64)
    accumulate(total, low, x, segments)
    for slot in range(K):
        mine = slot == SLOT_OF
        torch.testing.assert_close(total[slot], 1 + low[mine].T @ x[mine])


def test_dropout_drops_the_wide_side(given, dropout):
    x, low, matrix, segments = given
    ones = torch.ones(K, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(
        shrink(x, matrix, segments, scaling=ones, dropout=dropout),
        shrink(dropped(dropout, x), matrix, segments, scaling=ones),
    )
    torch.testing.assert_close(
        expand(low, matrix, segments, dropout=dropout), dropped(dropout, expand(low, matrix, segments))
    )
    mine, plain = (torch.zeros(K, R, F, dtype=torch.float64) for _ in range(2))
    accumulate(mine, low, x, segments, dropout=dropout)
    accumulate(plain, low, dropped(dropout, x), segments)
    torch.testing.assert_close(mine, plain)


def test_what_nobody_reads_may_be_anything(given):
    x, low, matrix, segments = given
    x[16:], low[16:], matrix[1] = torch.nan, torch.inf, torch.nan
    total = torch.zeros(K, R, F, dtype=torch.float64)
    accumulate(total, low, x, segments)
    made = (shrink(x, matrix, segments, scaling=torch.ones(K, 1, 1)), expand(low, matrix, segments), total)
    assert all(tensor.isfinite().all() for tensor in made)
    assert not any(tensor[16:].any() for tensor in made[:2])
