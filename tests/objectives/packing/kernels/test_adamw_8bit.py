import math

import pytest
import torch
from bitsandbytes import functional

from loratory.objectives.packing.kernels.adamw_8bit import AdamWStep, update
from loratory.objectives.packing.kernels.dynamic_codes import BLOCK, BlockCodes, dequantize

SIZE, RATE, DECAY, BETAS, EPSILON = 5 * BLOCK + 40, 1e-2, 0.1, (0.9, 0.999), 1e-8


def step(number, *, ratio=1.0, edges=None, rate=RATE):
    return AdamWStep(
        number=number,
        learning_rate=rate,
        ratio=ratio,
        edges=None if edges is None else torch.tensor(edges),
        weight_decay=DECAY,
        betas=BETAS,
        epsilon=EPSILON,
    )


def codes(size=SIZE):
    return BlockCodes(torch.zeros(size, dtype=torch.uint8), torch.zeros(math.ceil(size / BLOCK)))


def row(seed, size=SIZE, dtype=torch.float32):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradient(seed):
    """Sizes of 0.5 to 4, with a direction of each number's own and some noise; 5 at each block's begin."""
    drawn = row(100) + 0.5 * row(seed)
    drawn = (drawn + 0.5 * drawn.sign()).clamp(-4, 4)
    drawn[::BLOCK] = 5.0
    return drawn


class Theirs:
    """bitsandbytes' own 8-bit AdamW on one tensor."""

    def __init__(self):
        self.master = row(0)
        self.maps = [functional.create_dynamic_map(signed=signed) for signed in (True, False)]
        self.codes = [torch.zeros(SIZE, dtype=torch.uint8) for _ in range(2)]
        self.scales = [torch.zeros(math.ceil(SIZE / BLOCK)) for _ in range(2)]

    def update(self, gradient, number):
        functional.optimizer_update_8bit_blockwise(
            "adam",
            *(gradient.clone(), self.master, *self.codes, *BETAS, 0.0, 0.0, EPSILON, number, RATE),
            *(*self.maps, *self.scales),
            weight_decay=DECAY,
        )

    def moments(self):
        for number, scale, values in zip(self.codes, self.scales, self.maps, strict=True):
            yield functional.dequantize_blockwise(number, absmax=scale, code=values, blocksize=BLOCK)


class WrittenOut(Theirs):
    """The same in words, with its exact quantisation: on a CPU its fp32 code looks codes up in a table."""

    def update(self, gradient, number):
        m, v = self.moments()
        m, v = BETAS[0] * m + (1 - BETAS[0]) * gradient, BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        root = (v / (1 - BETAS[1] ** number)).sqrt()
        self.master *= 1 - RATE * DECAY
        self.master -= RATE * m / (1 - BETAS[0] ** number) / (root + EPSILON)
        for place, (numbers, values) in enumerate(zip((m, v), self.maps, strict=True)):
            made = torch.ops.bitsandbytes.quantize_blockwise(numbers.double(), values, BLOCK)
            self.codes[place], self.scales[place] = made


@pytest.mark.parametrize(("kind", "tolerance"), [(WrittenOut, 1e-5), (Theirs, 0.01)])
def test_updates_are_those_of_bitsandbytes(kind, tolerance):
    mine, theirs, mean, square = row(0), kind(), codes(), codes()
    for number in range(1, 11):
        update(mine, gradient(number), mean, square, step(number), first=0)
        theirs.update(gradient(number), number)
    assert (mine - theirs.master).norm() < tolerance * (theirs.master - row(0)).norm()
    kept = dequantize(mean, signed=True, dtype=mine.dtype), dequantize(square, signed=False, dtype=mine.dtype)
    for got, wanted in zip(kept, theirs.moments(), strict=True):
        assert (got - wanted).norm() < tolerance * wanted.norm()


def test_the_first_update_is_that_of_adamw_exactly():
    mine, theirs = row(0, dtype=torch.float64), torch.nn.Parameter(row(0, dtype=torch.float64))
    update(mine, row(1, dtype=torch.float64), codes(), codes(), step(1), first=0)
    theirs.grad = row(1, dtype=torch.float64)
    torch.optim.AdamW([theirs], lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY).step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("decades", "tolerance"), [(0, 0.02), (1, 0.15)])
def test_fifty_updates_are_near_those_of_adamw(decades, tolerance):
    # bitsandbytes is as near where gradients of a block are of one size. Where their sizes are spread over
    # decades, it is 60% off: small second moments become zero, and steps too large.
    mine, theirs, mean, square = row(0), torch.nn.Parameter(row(0)), codes(), codes()
    adamw = torch.optim.AdamW([theirs], lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    for number in range(1, 51):
        theirs.grad = row(100) * 10 ** (decades * row(101)) + row(number)
        update(mine, theirs.grad.clone(), mean, square, step(number), first=0)
        adamw.step()
    moved = (theirs.detach() - row(0)).norm()
    assert 0 < (mine - theirs.detach()).norm() < tolerance * moved


def test_rates_within_spans_are_multiplied_and_parts_are_the_whole():
    edges = [100, 300, 2 * BLOCK, 2 * BLOCK + 7]
    whole, mean, square = row(0), codes(), codes()
    parts, other_mean, other_square = row(0), codes(), codes()
    split = 2 * BLOCK
    for number in (1, 2):
        given = row(number)
        update(whole, given, mean, square, step(number, ratio=8.0, edges=edges), first=0)
        for part in (slice(0, split), slice(split, SIZE)):
            blocks = slice(part.start // BLOCK, math.ceil(part.stop / BLOCK))
            halves = [BlockCodes(m.codes[part], m.scales[blocks]) for m in (other_mean, other_square)]
            change = step(number, ratio=8.0, edges=edges)
            update(parts[part], given[part], *halves, change, first=part.start)
    assert torch.equal(whole, parts)
    for got, wanted in zip((*other_mean, *other_square), (*mean, *square), strict=True):
        assert torch.equal(got, wanted)
    within = torch.zeros(SIZE, dtype=torch.bool)
    within[100:300], within[split : split + 7] = True, True
    for rate, some in ((RATE, ~within), (8 * RATE, within)):
        one, mean, square = row(0), codes(), codes()
        for number in (1, 2):
            update(one, row(number), mean, square, step(number, rate=rate), first=0)
        torch.testing.assert_close(whole[some], one[some], rtol=1e-6, atol=1e-7)


def test_padding_stays_exactly_zero_beside_numbers_and_in_a_block_of_its_own():
    master, own = row(0), torch.arange(SIZE) % 3 == 0
    own[2 * BLOCK : 3 * BLOCK] = False
    master[~own] = 0.0
    mean, square = codes(), codes()
    for number in range(1, 21):
        update(master, torch.where(own, row(number), 0.0), mean, square, step(number), first=0)
    assert not master[~own].any() and master[own].all()
    for moment, signed in ((mean, True), (square, False)):
        assert not dequantize(moment, signed=signed, dtype=master.dtype)[~own].any()


def test_small_gradients_beside_large_ones_make_no_large_steps():
    # Once its second moment were zero, a number would move by 0.1 / sqrt(0.001) times the rate at most steps.
    master, mean, square = torch.zeros(BLOCK), codes(BLOCK), codes(BLOCK)
    given = torch.full((BLOCK,), 1e-5)
    given[0] = 1.0
    for number in range(1, 31):
        before = master.clone()
        update(master, given.clone(), mean, square, step(number), first=0)
        assert (master - before).abs().max() < 1.5 * RATE


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_shows_and_stays_in_its_block(poison):
    master, mean, square = row(0), codes(), codes()
    given = row(1)
    given[BLOCK + 3] = poison
    for number in (1, 2):
        update(master, given, mean, square, step(number), first=0)
    assert master[BLOCK + 3].isnan()
    others = torch.arange(SIZE) // BLOCK != 1
    assert master[others].isfinite().all() and mean.scales[[0, 2, 3, 4, 5]].isfinite().all()
    assert not mean.scales[1].isfinite() and not square.scales[1].isfinite()
