import pytest
import torch
from on_gpu import DEVICE, HALVES, KERNELS, relative, segments_of

from loratory.objectives.packing.dropout import Dropout, DropoutKeys, levels, token_keys
from loratory.objectives.packing.kernels import products
from loratory.objectives.packing.segments import Span

pytestmark = KERNELS
SLOTS, TOKENS, RANK, FEATURES = 5, 448, 40, 1001
SPANS = (Span(0, 0, 96), Span(2, 96, 352), Span(3, 352, 384))  # the last blocks are nobody's
LIMITS = {torch.float32: 3e-6, torch.bfloat16: 6e-3, torch.float16: 1e-3}


@pytest.fixture(scope="module")
def kernels():
    from loratory.objectives.packing.kernels import products_triton

    return products_triton


@pytest.fixture(scope="module")
def dropout():
    keys = torch.from_numpy(token_keys(seed=1, step=2, position=3, tokens=TOKENS)).to(DEVICE)
    limits = torch.tensor([levels(p) for p in (0.3, 0.0, 0.1, 0.0, 0.5)], dtype=torch.int32, device=DEVICE)
    return Dropout(DropoutKeys(tokens=keys, thresholds=limits), 12345)


def segments(granule=32):
    return segments_of(SPANS, slots=SLOTS, tokens=TOKENS, granule=granule)


def drawn(*size, dtype=torch.float32):
    return torch.randn(*size, device=DEVICE, dtype=dtype)


def made_by(module, x, matrix, bias, segments, dropout, *, low, wide, total):
    """The three products, as layers call them; `low` and `wide` are where the first two go, or None."""
    scaling = torch.linspace(0.2, 2.0, SLOTS, device=DEVICE).view(-1, 1, 1)
    low = module.shrink(x, matrix, segments, scaling=scaling, dropout=dropout, into=low)
    wide = module.expand(low, matrix, segments, bias=bias, dropout=dropout, into=wide)
    module.accumulate(total, low, x, segments, dropout=dropout)
    return low, wide, total


@pytest.mark.parametrize("drops", [False, True], ids=["no dropout", "dropout"])
@pytest.mark.parametrize(
    ("dtype", "rank", "features", "granule"),
    [
        (torch.float32, 8, 64, 32),
        (torch.float32, RANK, FEATURES, 16),
        (torch.float32, 128, 2048, 32),
        *((dtype, RANK, FEATURES, 32) for dtype in HALVES),
    ],
    ids=str,
)
def test_kernels_are_the_products(kernels, dropout, dtype, rank, features, granule, drops):
    torch.manual_seed(0)
    x, matrix = drawn(TOKENS, features, dtype=dtype), drawn(SLOTS, rank, features, dtype=dtype)
    given = x, matrix, drawn(features, dtype=dtype), segments(granule), dropout if drops else None
    total = drawn(SLOTS, rank, features)
    mine, theirs = (
        made_by(module, *given, low=None, wide=None, total=total.clone()) for module in (kernels, products)
    )
    for one, other in zip(mine, theirs, strict=True):
        assert relative(one, other) < LIMITS[dtype]


@pytest.mark.parametrize("drops", [False, True], ids=["no dropout", "dropout"])
def test_columns_of_a_wider_tensor_serve_as_well(kernels, dropout, drops):
    """Layers that read one input share the narrow side, and the gradient that is added to."""
    torch.manual_seed(0)
    given = (
        drawn(TOKENS, FEATURES),
        drawn(SLOTS, RANK, FEATURES),
        None,
        segments(),
        dropout if drops else None,
    )
    shared, wide, total = drawn(TOKENS, 3 * RANK), drawn(TOKENS, FEATURES), drawn(SLOTS, RANK, FEATURES)
    mine, theirs = shared.clone(), shared.clone()
    for one, other in zip(
        made_by(kernels, *given, low=mine.chunk(3, 1)[1], wide=wide.clone(), total=total.clone()),
        made_by(products, *given, low=theirs.chunk(3, 1)[1], wide=wide.clone(), total=total.clone()),
        strict=True,
    ):
        assert relative(one, other) < LIMITS[torch.float32]
    assert relative(mine, theirs) < LIMITS[torch.float32]
    for part in (0, 2):
        assert torch.equal(mine.chunk(3, 1)[part], shared.chunk(3, 1)[part])


def test_nan_in_one_slot_reaches_no_other(kernels):
    torch.manual_seed(0)
    x, matrix, total = drawn(TOKENS, FEATURES), drawn(SLOTS, RANK, FEATURES), drawn(SLOTS, RANK, FEATURES)
    x[100], matrix[1] = torch.nan, torch.nan  # one token of slot 2, and a slot without tokens
    low, wide, total = made_by(kernels, x, matrix, None, segments(), None, low=None, wide=None, total=total)
    others = torch.arange(TOKENS, device=DEVICE) != 100
    for made in (low, wide):
        assert made[100].isnan().all() and made[others].isfinite().all()
        assert not made[384:].any()
    assert total[2].isnan().all() and total[[0, 1, 3, 4]].isfinite().all()
