import pytest
import torch
from on_gpu import DEVICE, HALVES, KERNELS, relative

pytestmark = KERNELS
ROWS = 20
LIMITS = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}


def drawn(vocabulary, dtype=torch.float32):
    """Logits, targets and weights; every third weight is zero."""
    torch.manual_seed(0)
    logits = (torch.randn(ROWS, vocabulary, device=DEVICE) * 3).to(dtype)
    targets = torch.randint(vocabulary, (ROWS,), device=DEVICE, dtype=torch.int32)
    return logits, targets, torch.rand(ROWS, device=DEVICE) * (torch.arange(ROWS, device=DEVICE) % 3 > 0)


def plain(logits, targets, weights):
    """Losses and the gradient of their weighted sum, in fp64."""
    leaf = logits.double().requires_grad_()
    losses = torch.nn.functional.cross_entropy(leaf, targets.long(), reduction="none")
    return losses, torch.autograd.grad((losses * weights).sum(), leaf)[0]


@pytest.mark.parametrize(
    ("dtype", "vocabulary"),
    [*((torch.float32, size) for size in (1000, 32_000, 128_256)), *((dtype, 32_000) for dtype in HALVES)],
    ids=str,
)
def test_losses_and_gradient_are_those_of_pytorch(dtype, vocabulary):
    from loratory.objectives.packing.kernels.cross_entropy_triton import cross_entropy

    logits, targets, weights = drawn(vocabulary, dtype)
    expected, gradient = plain(logits, targets, weights)
    assert relative(cross_entropy(logits, targets, weights)[0], expected) < 1e-5
    assert relative(logits, gradient) < LIMITS[dtype]


def test_whole_tiles_may_be_impossible():
    from loratory.objectives.packing.kernels.cross_entropy_triton import cross_entropy

    logits, targets, weights = drawn(32_000)
    logits[:, :20_000], targets = float("-inf"), targets % 12_000 + 20_000
    expected, gradient = plain(logits, targets, weights)
    assert relative(cross_entropy(logits, targets, weights)[0], expected) < 1e-5
    assert relative(logits, gradient) < LIMITS[torch.float32]


def test_what_is_not_finite_stays_in_its_row_and_counts_for_nothing_without_weight():
    from loratory.objectives.packing.kernels.cross_entropy_triton import cross_entropy

    logits, targets, weights = drawn(1000)
    _, gradient = plain(logits, targets, weights)
    logits[3], logits[6, 5], logits[7] = torch.nan, torch.inf, torch.nan
    losses, _ = cross_entropy(logits, targets, weights)
    healthy = torch.arange(ROWS, device=DEVICE) != 7
    assert losses[3].isnan() and losses[7].isnan() and logits[7].isnan().all()
    assert not logits[3].any() and not logits[6].any()
    assert relative(logits[healthy], gradient[healthy]) < LIMITS[torch.float32]
