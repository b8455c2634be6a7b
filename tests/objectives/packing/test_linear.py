import pytest
import torch
from torch import nn

from loratory.objectives.qlora.dropout import keep_mask, levels, token_keys
from loratory.objectives.qlora.linear import FrozenWeight, Lanes, PackedLinear
from loratory.objectives.qlora.stack import FILE_PREFIX, AdapterStack

INPUTS, OUTPUTS, TOKENS = 12, 20, 9
RANKS, SCALINGS = (3, 8, 5), (2.0, 0.5, 1.5)


def state(rank, seed):
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, INPUTS, dtype=torch.float64, generator=draw)
    b = torch.randn(OUTPUTS, rank, dtype=torch.float64, generator=draw)
    return {f"{FILE_PREFIX}layer.lora_A.weight": a, f"{FILE_PREFIX}layer.lora_B.weight": b}


@pytest.fixture(params=[0.0, 0.4], ids=["no dropout", "dropout"])
def packed(request):
    """Layer, adapters, and thresholds of the lanes; a slot between the others is empty."""
    torch.manual_seed(0)
    stack = AdapterStack(
        {"layer": (INPUTS, OUTPUTS)},
        slots=4,
        rank=max(RANKS),
        device=torch.device("cpu"),
        compute_dtype=torch.float64,
    )
    states = [state(rank, seed) for seed, rank in enumerate(RANKS)]
    for slot, given, scaling in zip((0, 1, 3), states, SCALINGS, strict=True):
        stack.put(slot, given, scaling=scaling)
    lanes = Lanes(stack=stack, gradients=torch.zeros_like(stack.master))
    if request.param:
        lanes.dropout_keys = torch.stack(
            [
                torch.from_numpy(token_keys(seed=s, step=0, position=0, tokens=TOKENS))
                for s in range(stack.slots)
            ]
        )
        lanes.dropout_thresholds = torch.full((4,), levels(request.param), dtype=torch.int32)
    weight = torch.randn(OUTPUTS, INPUTS, dtype=torch.float64)
    bias = torch.randn(OUTPUTS, dtype=torch.float64)
    layer = PackedLinear("layer", FrozenWeight(lambda: weight, INPUTS, OUTPUTS), bias, lanes)
    return layer, states


def expected(layer, x, slot, state, scaling):
    """One lane by plain operations, its matrices as leaves of autograd."""
    a, b = (tensor.clone().requires_grad_() for tensor in state.values())
    lanes, dropped = layer.lanes, x
    if lanes.dropout_keys is not None:
        limit = lanes.dropout_thresholds[slot : slot + 1]
        keys = lanes.dropout_keys[slot : slot + 1]
        mask = keep_mask(keys, limit, features=INPUTS, salt=layer.salt)[0]
        dropped = x * mask / (1 - limit / 65536)
    y = nn.functional.linear(x, layer.frozen(), layer.bias) + scaling * (dropped @ a.T @ b.T)
    return y, a, b


def test_each_lane_is_its_own_lora_layer(packed):
    layer, states = packed
    x = torch.randn(4, TOKENS, INPUTS, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    dy = torch.randn_like(y)
    y.backward(dy)
    grad_a, grad_b = layer.lanes.stack.matrices(layer.lanes.gradients, "layer")
    for slot, given, scaling in zip((0, 1, 3), states, SCALINGS, strict=True):
        own = x[slot].detach().requires_grad_()
        out, a, b = expected(layer, own, slot, given, scaling)
        out.backward(dy[slot])
        rank = a.shape[0]
        torch.testing.assert_close(y[slot], out, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.grad[slot], own.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_a[slot, :rank], a.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_b[slot, :rank].T, b.grad, rtol=1e-12, atol=1e-12)
        assert not grad_a[slot, rank:].any() and not grad_b[slot, rank:].any()
    assert not layer.lanes.gradients[2].any()


def test_adapters_of_the_first_layer_train_though_its_input_needs_no_gradient(packed):
    layer, _ = packed
    layer(torch.randn(4, TOKENS, INPUTS, dtype=torch.float64)).sum().backward()
    assert layer.lanes.gradients[0].any()


def test_nan_in_one_lane_reaches_no_other(packed):
    layer, states = packed
    x = torch.randn(4, TOKENS, INPUTS, dtype=torch.float64, requires_grad=True)
    layer.lanes.stack.put(0, {n: t * float("nan") for n, t in states[0].items()}, scaling=1.0)
    y = layer(x)
    y.sum().backward()
    assert y[0].isnan().any() and layer.lanes.gradients[0].isnan().any()
    for healthy in (y[1:], x.grad[1:], layer.lanes.gradients[1:]):
        assert healthy.isfinite().all()


def test_adapter_comes_back_as_it_went_in(packed):
    layer, states = packed
    taken = layer.lanes.stack.take(3, states[2])
    assert taken.keys() == states[2].keys()
    assert all(torch.equal(taken[name], states[2][name]) for name in taken)
    layer.lanes.stack.clear(3)
    assert not layer.lanes.stack.master[3].any()


def test_without_a_stack_the_layer_is_the_frozen_one(packed):
    layer, _ = packed
    layer.lanes.stack = None
    x = torch.randn(2, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, nn.functional.linear(x, layer.frozen(), layer.bias))
    y.sum().backward()
    torch.testing.assert_close(x.grad, layer.frozen().sum(0).expand_as(x))
