import pytest
import torch
from bitsandbytes import functional

from loratory.objectives.packing.kernels.dynamic_codes import BLOCK, code_values, dequantize, quantize

CPU = torch.device("cpu")


def drawn(count, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    sizes = 10 ** torch.empty(count, dtype=dtype).uniform_(-6, 0, generator=draw)
    return sizes * torch.empty(count, dtype=dtype).uniform_(-1, 1, generator=draw).sign()


def exact_codes(numbers, values):
    """bitsandbytes' codes and scales. Its own code for fp32 on a CPU looks codes up in a coarse table."""
    return torch.ops.bitsandbytes.quantize_blockwise(numbers.double(), values, BLOCK)


@pytest.mark.parametrize("signed", [True, False])
def test_values_are_those_of_bitsandbytes(signed):
    assert torch.equal(code_values(CPU, signed=signed), functional.create_dynamic_map(signed=signed))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("count", [BLOCK, 3 * BLOCK + 17, 5])
def test_codes_are_those_of_bitsandbytes_where_the_largest_number_is_positive(signed, count):
    numbers = drawn(count) if signed else drawn(count).abs()
    numbers[::BLOCK] = 1.5
    mine = quantize(numbers, signed=signed)
    values = functional.create_dynamic_map(signed=signed)
    codes, largest = exact_codes(numbers, values)
    assert torch.equal(mine.scales, largest)
    apart = mine.codes.int() - codes.int()
    assert apart.abs().max() <= 1 and apart.ne(0).float().mean() < 0.01  # near the middle of two codes
    read = dequantize(mine, signed=signed, dtype=torch.float32)
    theirs = functional.dequantize_blockwise(codes, absmax=largest, code=values, blocksize=BLOCK)
    assert torch.equal(read[apart == 0], theirs[apart == 0])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_was_read_gets_the_same_codes_again(signed, dtype):
    numbers = drawn(9 * BLOCK + 3, dtype=dtype)
    numbers = numbers if signed else numbers.abs()
    once = quantize(numbers, signed=signed)
    again = quantize(dequantize(once, signed=signed, dtype=dtype), signed=signed)
    assert torch.equal(once.codes, again.codes) and torch.equal(once.scales, again.scales)
    if signed:
        assert (once.scales < 0).any() and (once.scales > 0).any()


def test_a_number_is_off_by_half_a_step_of_its_decade_at_most():
    numbers = drawn(64 * BLOCK)
    read = dequantize(quantize(numbers, signed=True), signed=True, dtype=torch.float32)
    sizes = numbers.view(-1, BLOCK) / numbers.view(-1, BLOCK).abs().amax(1, keepdim=True)
    ratio = ((read - numbers) / numbers).view(-1, BLOCK).abs()
    assert ratio[sizes.abs() > 0.1].max() < 0.071  # half of 0.9 / 64, over 0.1
    assert ratio[(sizes.abs() > 1e-2) & (sizes.abs() < 0.1)].max() < 0.142


def test_zero_is_exact_and_a_positive_second_moment_never_becomes_zero():
    numbers = torch.tensor([0.0, 1.0, 1e-12, 0.0, 3e-7, -0.0])
    first, second = (quantize(x, signed=s) for x, s in ((numbers, True), (numbers, False)))
    assert dequantize(first, signed=True, dtype=torch.float32)[[0, 2, 3, 5]].eq(0).all()
    read = dequantize(second, signed=False, dtype=torch.float32)
    assert read.ne(0).tolist() == [False, True, True, False, True, False]


@pytest.mark.parametrize("tiny", [0.0, 1e-42])
def test_a_block_without_a_normal_number_is_zero(tiny):
    numbers = torch.full((2 * BLOCK,), tiny)
    numbers[BLOCK:] = 2.0
    for signed in (True, False):
        quantized = quantize(numbers, signed=signed)
        assert quantized.scales.tolist() == [0.0, 2.0]
        read = dequantize(quantized, signed=signed, dtype=torch.float32)
        assert not read[:BLOCK].any() and read[BLOCK:].eq(2).all()


def test_a_block_with_nan_is_nan_and_its_neighbour_is_not():
    numbers = torch.ones(2 * BLOCK)
    numbers[3] = torch.nan
    read = dequantize(quantize(numbers, signed=True), signed=True, dtype=torch.float32)
    assert read[:BLOCK].isnan().all() and read[BLOCK:].eq(1).all()
