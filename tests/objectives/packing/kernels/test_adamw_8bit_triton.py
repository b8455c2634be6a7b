import math

import pytest
import torch
from on_gpu import DEVICE, KERNELS

from loratory.objectives.packing.kernels import adamw_8bit
from loratory.objectives.packing.kernels.adamw_8bit import AdamWStep
from loratory.objectives.packing.kernels.dynamic_codes import BLOCK, BlockCodes, dequantize

pytestmark = KERNELS
STEPS = 5


def rows(size, seed):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(size, generator=draw) * 10 ** torch.randn(size, generator=draw)).to(DEVICE)


def codes(size):
    return BlockCodes(
        torch.zeros(size, dtype=torch.uint8, device=DEVICE),
        torch.zeros(math.ceil(size / BLOCK), device=DEVICE),
    )


def trained(module, size, *, edges=None, first=0, change=lambda gradient: gradient):
    """Master weights and moments after some steps of a module's `update`, and all that they hold."""
    master, mean, square = change(rows(size, 0)), codes(size), codes(size)
    for number in range(1, STEPS + 1):
        step = AdamWStep(
            number=number,
            learning_rate=1e-2,
            ratio=8.0,
            edges=None if edges is None else torch.tensor(edges, device=DEVICE),
            weight_decay=0.1,
            betas=(0.9, 0.999),
            epsilon=1e-8,
        )
        module.update(master, change(rows(size, number)), mean, square, step, first=first)
    return master, mean, square


def both(size, **options):
    from loratory.objectives.packing.kernels import adamw_8bit_triton

    return trained(adamw_8bit_triton, size, **options), trained(adamw_8bit, size, **options)


def assert_near(got, wanted):
    (mine, *moments), (theirs, *others) = got, wanted
    start = rows(len(mine), 0)
    moved = (theirs - start).norm()
    # Where rounding turns a code, a number takes the next code, and moves on from there.
    assert (mine - theirs).norm() < 1e-3 * moved
    for moment, other, signed in zip(moments, others, (True, False), strict=True):
        apart = moment.codes.int() - other.codes.int()
        assert apart.abs().max() <= 1 and apart.ne(0).float().mean() < 0.01
        torch.testing.assert_close(moment.scales, other.scales, rtol=1e-2, atol=0)
        read = [dequantize(m, signed=signed, dtype=torch.float32) for m in (moment, other)]
        assert (read[0] - read[1]).norm() < 1e-2 * read[1].norm()


@pytest.mark.parametrize("size", [BLOCK, 40 * BLOCK, 9 * BLOCK + 77, 5])
def test_updates_are_those_of_the_plain_twin(size):
    assert_near(*both(size))


@pytest.mark.parametrize(
    ("edges", "first"),
    [
        ([0, 100], 0),
        ([100, 300, 2 * BLOCK, 5 * BLOCK], 0),
        ([100, 300, 3 * BLOCK + 9, 20 * BLOCK, 21 * BLOCK, 22 * BLOCK], 2 * BLOCK),
    ],
)
def test_spans_have_their_ratio(edges, first):
    size = 10 * BLOCK + 30
    assert_near(*both(size, edges=edges, first=first))
    # As many edges, all behind the row: a kernel without any is compiled apart, and rounds otherwise.
    without, _ = both(size, edges=[edge + 100 * BLOCK for edge in edges], first=first)
    (mine, *_), _ = both(size, edges=edges, first=first)
    places = torch.arange(first, first + size, device=DEVICE)
    within = torch.bucketize(places, torch.tensor(edges, device=DEVICE), right=True) % 2 == 1
    assert torch.equal(mine[~within], without[0][~within])
    assert (mine[within] != without[0][within]).all()


def test_padding_stays_exactly_zero():
    size = 8 * BLOCK
    own = (torch.arange(size, device=DEVICE) % 3 == 0) & (torch.arange(size, device=DEVICE) >= 2 * BLOCK)
    (master, mean, square), _ = both(size, change=lambda row: torch.where(own, row, 0.0))
    assert not master[~own].any() and master[own].all()
    for moment, signed in ((mean, True), (square, False)):
        read = dequantize(moment, signed=signed, dtype=torch.float32)
        assert not read[~own].any() and not moment.scales[:2].any()
        assert signed or read[own].all()


def test_what_is_not_finite_stays_in_its_block():
    size = 6 * BLOCK

    def poisoned(row):
        row[BLOCK + 3], row[4 * BLOCK] = torch.nan, torch.inf
        return row

    (master, mean, square), _ = both(size, change=poisoned)
    bad = torch.tensor([False, True, False, False, True, False], device=DEVICE)
    assert master[BLOCK + 3].isnan() and master[4 * BLOCK].isnan()
    assert master[~bad.repeat_interleave(BLOCK)].isfinite().all()
    for moment in (mean, square):
        assert torch.equal(~moment.scales.isfinite(), bad)
