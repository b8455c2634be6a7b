"""On a GPU; elsewhere where Triton is installed and told to interpret its kernels (TRITON_INTERPRET=1)."""

import importlib.util
import os

import pytest
import torch

from loratory.objectives.packing.context import PassContext, Segments, Span
from loratory.objectives.packing.linear import FrozenWeight, PackedLinear
from loratory.objectives.packing.stack import AdapterStack

INTERPRETED = importlib.util.find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (torch.cuda.is_available() or INTERPRETED), reason="needs a CUDA device or Triton's interpreter"
    ),
]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
INPUTS, OUTPUTS, TOKENS, SLOTS = 64, 200, 160, 3
SPANS = (Span(0, 0, 64), Span(2, 64, 128))  # the last block is nobody's


@pytest.fixture(params=[8, 72], ids=lambda rank: f"rank {rank}")
def layers(request):
    """Gate and up, their context set for a pass."""
    torch.manual_seed(0)
    names = ("m.gate_proj", "m.up_proj")
    stack = AdapterStack(
        dict.fromkeys(names, (INPUTS, OUTPUTS)),
        slots=SLOTS,
        rank=request.param,
        device=DEVICE,
        compute_dtype=torch.float32,
    )
    stack.master.normal_(std=0.1)
    stack.scaling.copy_(torch.tensor([0.5, 1.0, 2.0]).view(-1, 1, 1))
    blocks = torch.full((TOKENS // 32,), -1, dtype=torch.int32)
    bounds = torch.zeros(SLOTS, 2, dtype=torch.int32)
    for slot, start, end in SPANS:
        blocks[start // 32 : end // 32], bounds[slot] = slot, torch.tensor([start, end])
    segments = Segments(granule=32, spans=SPANS, block_slots=blocks.to(DEVICE), bounds=bounds.to(DEVICE))
    context = PassContext(stack=stack, segments=segments, gradients=torch.zeros_like(stack.master))
    biases = (None, torch.randn(OUTPUTS, device=DEVICE))
    return [layer_of(name, bias, context) for name, bias in zip(names, biases, strict=True)]


def layer_of(name, bias, context):
    weight = torch.randn(OUTPUTS, INPUTS, device=DEVICE) / 8
    return PackedLinear(name, FrozenWeight(lambda: weight, INPUTS, OUTPUTS), bias, context)


def gradients_of(unit, x, pull, context):
    """What a unit gives, and the gradients of its input and of the adapters."""
    context.gradients.zero_()
    context.shared, context.inputs = None, []
    leaf = x.clone().requires_grad_()
    product = unit(leaf * 1)
    context.backward((product * pull).sum())
    return product.detach(), leaf.grad, context.gradients.clone()


def test_it_is_the_two_layers_and_what_joins_them(layers):
    from loratory.objectives.packing.gated_unit import gated_unit

    gate, up = layers
    x, pull = torch.randn(1, TOKENS, INPUTS, device=DEVICE), torch.randn(1, TOKENS, OUTPUTS, device=DEVICE)
    mine = gradients_of(lambda x: gated_unit(x, gate, up), x, pull, gate.context)
    theirs = gradients_of(lambda x: torch.nn.functional.silu(gate(x)) * up(x), x, pull, gate.context)
    for one, other in zip(mine, theirs, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()
    assert mine[2][0].any() and not mine[2][1].any()


def test_nan_in_one_slot_reaches_no_other(layers):
    from loratory.objectives.packing.gated_unit import gated_unit

    gate, up = layers
    gate.context.stack.master[2] = float("nan")
    x, pull = torch.randn(1, TOKENS, INPUTS, device=DEVICE), torch.ones(1, TOKENS, OUTPUTS, device=DEVICE)
    product, dx, gradients = gradients_of(lambda x: gated_unit(x, gate, up), x, pull, gate.context)
    assert product[0, 64:128].isnan().all() and gradients[2].isnan().any()
    for healthy in (product[0, :64], product[0, 128:], dx[0, :64], dx[0, 128:], gradients[:2]):
        assert healthy.isfinite().all()
