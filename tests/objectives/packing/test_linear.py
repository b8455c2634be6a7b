from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

from loratory.objectives.packing.context import CurrentPass, PassContext
from loratory.objectives.packing.dropout import DropoutKeys, keep_mask, levels, token_keys
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.kernels import products
from loratory.objectives.packing.linear import FrozenWeight, PackedLinear
from loratory.objectives.packing.segments import Segments, Span
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterStack

INPUTS, OUTPUTS, TOKENS = 12, 20, 36
SPANS = (Span(0, 4, 12), Span(1, 12, 16), Span(3, 16, 32))  # what is around them is nobody's
RANKS, SCALINGS = (3, 8, 5), (2.0, 0.5, 1.5)


def state(rank, seed):
    draw = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, INPUTS, dtype=torch.float64, generator=draw)
    b = torch.randn(OUTPUTS, rank, dtype=torch.float64, generator=draw)
    return {f"{FILE_PREFIX}layer.lora_A.weight": a, f"{FILE_PREFIX}layer.lora_B.weight": b}


class Packed:
    """A layer with its adapters, and the pass that is entered for it."""

    def __init__(self, layer, states, current):
        self.layer, self.states, self.current = layer, states, current
        self.gradients = current.gradients.flat

    @contextmanager
    def entered(self, **changes):
        """A new pass, with some parts changed."""
        with self.layer.context.enter(replace(self.current, **changes)) as current:
            yield current


@pytest.fixture(params=[0.0, 0.4], ids=["no dropout", "dropout"])
def packed(request):
    """A layer and its adapters; slot 2 is empty."""
    torch.manual_seed(0)
    stack = AdapterStack(
        {"layer": (INPUTS, OUTPUTS)},
        slots=4,
        rank=max(RANKS),
        device=torch.device("cpu"),
        compute_dtype=torch.float64,
    )
    states = [state(rank, seed) for seed, rank in enumerate(RANKS)]
    for span, given, scaling in zip(SPANS, states, SCALINGS, strict=True):
        stack.put(span.slot, given, scaling=scaling)
    blocks, bounds = torch.full((TOKENS // 4,), -1), torch.zeros(4, 2)
    for slot, start, end in SPANS:
        blocks[start // 4 : end // 4], bounds[slot] = slot, torch.tensor([start, end])
    segments = Segments(granule=4, spans=SPANS, block_slots=blocks.int(), bounds=bounds.int())
    dropout = None
    if request.param:
        keys = torch.from_numpy(token_keys(seed=1, step=0, position=0, tokens=TOKENS))
        limits = torch.full((4,), levels(request.param), dtype=torch.int32)
        dropout = DropoutKeys(tokens=keys, thresholds=limits)
    current = CurrentPass(stack=stack, segments=segments, gradients=GradientSink(stack), dropout=dropout)
    weight = torch.randn(OUTPUTS, INPUTS, dtype=torch.float64)
    bias = torch.randn(OUTPUTS, dtype=torch.float64)
    layer = PackedLinear("layer", FrozenWeight(lambda: weight, INPUTS, OUTPUTS), bias, PassContext())
    return Packed(layer, states, current)


def drawn(**options):
    return torch.randn(TOKENS, INPUTS, dtype=torch.float64, **options)


def expected(layer, x, span, state, scaling, dropout):
    """The tokens of one slot by plain operations, its matrices as leaves of autograd."""
    a, b = (tensor.clone().requires_grad_() for tensor in state.values())
    dropped = x
    if dropout is not None:
        keys = dropout.tokens[span.start : span.end].unsqueeze(0)
        limit = dropout.thresholds[:1]
        dropped = x * keep_mask(keys, limit, features=INPUTS, salt=layer.salt)[0] / (1 - limit / 65536)
    y = nn.functional.linear(x, layer.frozen(), layer.bias) + scaling * (dropped @ a.T @ b.T)
    return y, a, b


def test_the_tokens_of_each_slot_see_its_own_lora_layer(packed):
    layer, current = packed.layer, packed.current
    x = drawn(requires_grad=True)
    with packed.entered():
        y = layer(x.view(1, TOKENS, INPUTS))[0]
    dy = torch.randn_like(y)
    y.backward(dy)
    grad_a, grad_b = current.stack.matrices(packed.gradients, "layer")
    for span, given, scaling in zip(SPANS, packed.states, SCALINGS, strict=True):
        here, slot = slice(span.start, span.end), span.slot
        own = x[here].detach().requires_grad_()
        out, a, b = expected(layer, own, span, given, scaling, current.dropout)
        out.backward(dy[here])
        rank = a.shape[0]
        torch.testing.assert_close(y[here], out, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.grad[here], own.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_a[slot, :rank], a.grad, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grad_b[slot, :rank].T, b.grad, rtol=1e-12, atol=1e-12)
        assert not grad_a[slot, rank:].any() and not grad_b[slot, rank:].any()
    assert not packed.gradients[2].any()


def test_tokens_that_are_nobodys_see_the_base(packed):
    layer, x = packed.layer, drawn(requires_grad=True)
    with packed.entered():
        y = layer(x)
    y.sum().backward()
    for here in (slice(0, 4), slice(32, 36)):
        plain = nn.functional.linear(x[here], layer.frozen(), layer.bias)
        torch.testing.assert_close(y[here], plain, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(x.grad[here], layer.frozen().sum(0).expand(4, INPUTS))


def test_gradients_are_added_to_those_of_earlier_passes(packed):
    x = drawn()
    with packed.entered():
        packed.layer(x).sum().backward()
    once = packed.gradients.clone()
    assert once[0].any()  # though the input of a first layer needs no gradient
    with packed.entered():
        packed.layer(x).sum().backward()
    torch.testing.assert_close(packed.gradients, 2 * once)


def test_nothing_trains_without_a_place_for_gradients(packed):
    with packed.entered(gradients=None):
        assert not packed.layer(drawn()).requires_grad


def test_nan_in_one_slot_reaches_no_other(packed):
    x = drawn(requires_grad=True)
    packed.current.stack.put(0, {n: t * float("nan") for n, t in packed.states[0].items()}, scaling=1.0)
    with packed.entered():
        y = packed.layer(x)
    y.sum().backward()
    assert y[4:12].isnan().any() and packed.gradients[0].isnan().any()
    for healthy in (y[:4], y[12:], x.grad[:4], x.grad[12:], packed.gradients[1:]):
        assert healthy.isfinite().all()


@pytest.mark.parametrize("lacks", ["pass", "layer"])
def test_without_an_adapter_the_layer_is_the_frozen_one(packed, lacks):
    layer = packed.layer
    x = torch.randn(2, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    if lacks == "pass":
        y = layer(x)
    else:
        layer.name = "another"
        with packed.entered():
            y = layer(x)
    assert torch.equal(y, nn.functional.linear(x, layer.frozen(), layer.bias))
    y.sum().backward()
    torch.testing.assert_close(x.grad, layer.frozen().sum(0).expand_as(x))


def test_a_held_weight_is_read_once_until_it_is_released():
    reads = []
    weight = FrozenWeight(lambda: reads.append(1) or torch.ones(2, 3), 3, 2)
    assert torch.equal(weight(), weight()) and len(reads) == 2
    weight.hold()
    assert weight() is weight() and len(reads) == 3
    weight.release()
    weight()
    assert len(reads) == 4


def test_layers_that_read_one_input_give_its_whole_gradient(packed):
    layer = packed.layer
    other = PackedLinear("layer", layer.frozen, None, layer.context)
    x = drawn(requires_grad=True)
    with packed.entered() as current:
        first, second = layer(x), other(x)
        current.backward((first.sin() + second.cos()).sum())
    together, x.grad = x.grad, None
    alone = []
    for own, wave in ((layer, torch.sin), (other, torch.cos)):
        with packed.entered():
            wave(own(x)).sum().backward()
        alone.append(x.grad)
        x.grad = None
    torch.testing.assert_close(together, sum(alone), rtol=1e-12, atol=1e-12)


NAMES = ("m.q_proj", "m.k_proj", "m.v_proj")


@pytest.fixture
def siblings(packed):
    """Three layers that read one input, of different weights, in a stack of their own; and their pass."""
    stack = AdapterStack(
        dict.fromkeys(NAMES, (INPUTS, OUTPUTS)),
        slots=4,
        rank=8,
        device=torch.device("cpu"),
        compute_dtype=torch.float64,
    )
    stack.master.normal_(generator=torch.Generator().manual_seed(1))
    layer = packed.layer
    layers = [PackedLinear(name, layer.frozen, None, layer.context) for name in NAMES]
    return layers, replace(packed.current, stack=stack, gradients=GradientSink(stack))


def joined(outputs):
    """A loss in which every output has a part of its own."""
    return sum((y * (number + 2)).sin().sum() for number, y in enumerate(outputs))


def by_hand(layers, x, current):
    """What `expected` gives for each slot of each layer: outputs, and gradients of x and the stack."""
    stack, x = current.stack, x.clone().requires_grad_()
    leaves, outputs = {}, []
    for layer in layers:
        y = nn.functional.linear(x, layer.frozen(), layer.bias)
        for span in SPANS:
            a, b = (m[span.slot] for m in stack.matrices(stack.master, layer.name))
            given = {"a": a, "b": b.T}
            out, *own = expected(layer, x[span.start : span.end], span, given, 1.0, current.dropout)
            leaves.setdefault((layer.name, span.slot), []).append(own)
            y = torch.cat([y[: span.start], out, y[span.end :]])
        outputs.append(y)
    joined(outputs).backward()
    gradients = torch.zeros_like(current.gradients.flat)
    for (name, slot), pairs in leaves.items():
        grad_a, grad_b = stack.matrices(gradients, name)
        grad_a[slot] += sum(a.grad for a, _ in pairs)
        grad_b[slot] += sum(b.grad.T for _, b in pairs)
    return [*outputs, x.grad, gradients]


@pytest.mark.parametrize("order", ["qkv", "vqk", "qv", "k", "qkvq", "qqk"])
def test_layers_that_read_one_input_are_those_that_plain_operations_make(siblings, order):
    every, current = siblings
    by_letter = dict(zip("qkv", every, strict=True))
    layers, x = [by_letter[letter] for letter in order], drawn()
    own = x.clone().requires_grad_()
    with every[0].context.enter(current):
        outputs = [layer(own) for layer in layers]
        current.backward(joined(outputs))
    made = [*outputs, own.grad, current.gradients.flat]
    for mine, theirs in zip(made, by_hand(layers, x, current), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def counted(name, place, calls):
    """A product that notes the rank of the matrix at a place of its arguments."""
    product = getattr(products, name)

    def noted(*given, **options):
        calls.append((name, given[place].shape[1]))
        return product(*given, **options)

    return noted


def test_one_product_serves_the_layers_that_read_one_input(siblings, monkeypatch):
    ((q, k, v), current), calls = siblings, []
    for name, place in {"shrink": 1, "expand": 1, "accumulate": 0}.items():
        monkeypatch.setattr(products, name, counted(name, place, calls))
    x = drawn(requires_grad=True)
    with q.context.enter(current):
        outputs = [k(x), v(x), q(x)]
        wanted = 24 if current.dropout is None else 8
        assert [rank for name, rank in calls if name == "shrink"] == [wanted] * (24 // wanted)
        family = current.inputs.latest.family_pass(current.stack.family("m.q_proj"), layer="another")
        assert family.shrunk is None  # all have taken
        del calls[:]
        current.backward(joined(outputs))
    shared = {("accumulate", 24): 1, ("expand", 24): 1, ("accumulate", 8): 3, ("shrink", 8): 3}
    apart = {("accumulate", 8): 6, ("expand", 8): 3, ("shrink", 8): 3}
    assert Counter(calls) == (shared if current.dropout is None else apart)


def test_a_layer_whose_output_is_left_out_is_noticed(packed):
    x = drawn(requires_grad=True)
    with packed.entered() as current:
        used, _ = packed.layer(x), packed.layer(x)
        with pytest.raises(RuntimeError, match="reach the loss"):
            current.backward(used.sum())
