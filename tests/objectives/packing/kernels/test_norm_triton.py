import pytest
import torch
from on_gpu import DEVICE, HALVES, KERNELS, relative
from transformers.models.llama.modeling_llama import LlamaRMSNorm

pytestmark = KERNELS
LIMITS = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


@pytest.fixture(
    params=[*((torch.float32, width) for width in (64, 200, 5120)), *((dtype, 2048) for dtype in HALVES)],
    ids=str,
)
def given(request):
    """A norm, what it reads and adds, and what pulls at the norm and at the sum."""
    torch.manual_seed(0)
    dtype, width = request.param
    norm = LlamaRMSNorm(width).to(DEVICE, dtype).requires_grad_(False)
    torch.nn.init.normal_(norm.weight, 1.0, 0.1)
    x, residual, pull, push = (torch.randn(3, 14, width, device=DEVICE, dtype=dtype) for _ in range(4))
    return norm, x.requires_grad_(), residual.requires_grad_(), pull, push


def assert_same(made, wanted, leaves, pulls):
    """The same values, and the same gradients of them pulled at."""
    gradients = [
        torch.autograd.grad(sum((y * pull).sum() for y, pull in zip(some, pulls, strict=True)), leaves)
        for some in (made, wanted)
    ]
    for one, other in zip((*made, *gradients[0]), (*wanted, *gradients[1]), strict=True):
        assert relative(one, other) < LIMITS[other.dtype]


def test_it_is_the_norm_of_transformers(given):
    from loratory.objectives.packing.kernels.norm_triton import rms_norm

    norm, x, _, pull, _ = given
    assert_same([rms_norm(x, norm.weight, norm.variance_epsilon)], [norm(x)], [x], [pull])


def test_what_goes_past_the_norm_has_its_gradient_added(given):
    from loratory.objectives.packing.kernels.norm_triton import rms_norm_beside

    norm, x, _, pull, push = given
    made = rms_norm_beside(x * 1, norm.weight, norm.variance_epsilon)
    assert_same(made, [norm(x), x], [x], [pull, push])


def test_the_sum_before_the_norm_is_given_too(given):
    from loratory.objectives.packing.kernels.norm_triton import add_rms_norm

    norm, x, residual, pull, push = given
    made = add_rms_norm(x, residual, norm.weight, norm.variance_epsilon)
    assert_same(made, [norm(x + residual), x + residual], [x, residual], [pull, push])


def test_a_norm_that_nobody_reads_lets_the_sums_gradient_through(given):
    from loratory.objectives.packing.kernels.norm_triton import add_rms_norm

    norm, x, residual, _, push = given
    _, total = add_rms_norm(x, residual, norm.weight, norm.variance_epsilon)
    assert all(torch.equal(got, push) for got in torch.autograd.grad(total, (x, residual), push))
