import pytest
import torch
from torch import nn

from loratory.objectives.packing import loss as module
from loratory.objectives.packing.loss import (
    CHUNK_NUMBERS,
    linear_cross_entropy,
    own_head_cross_entropy,
)

TOKENS, WIDTH, VOCABULARY, COUNT = 30, 8, 40, 12


@pytest.fixture
def given():
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, dtype=torch.float64, requires_grad=True)
    head = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64)
    places = torch.randperm(TOKENS)[:COUNT].int()
    weights = torch.rand(COUNT).index_fill(0, torch.tensor([3]), 0.0)
    return hidden, head, places, torch.randint(VOCABULARY, (COUNT,)).int(), weights


def plain(hidden, head, places, targets, weights):
    logits = hidden[places.long()] @ head.T
    losses = nn.functional.cross_entropy(logits, targets.long(), reduction="none")
    return (losses * weights).sum(), losses


def own_head(hidden, head, *rest, chunk_numbers=CHUNK_NUMBERS):
    """The same by way of a function that computes logits."""
    return own_head_cross_entropy(
        hidden, lambda x: x @ head.T, *rest, vocabulary=VOCABULARY, chunk_numbers=chunk_numbers
    )


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("chunk", [CHUNK_NUMBERS, 5])
def test_loss_and_gradient_are_those_of_head_and_cross_entropy(given, monkeypatch, chunk, own):
    monkeypatch.setattr(module, "_SMALL_TILE", 5)
    mine, wanted = (own_head if own else linear_cross_entropy)(*given, chunk_numbers=chunk), plain(*given)
    for got, expected in zip(mine, wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(3 * loss, given[0])[0] for loss in (mine[0], wanted[0])]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)
    assert not mine[1].requires_grad


def test_losses_of_narrow_formats_are_fp32(given):
    hidden, head, *rest = given
    narrow = hidden.detach().bfloat16().requires_grad_()
    loss, losses = linear_cross_entropy(narrow, head.bfloat16(), *rest)
    loss.backward()
    assert losses.dtype is loss.dtype is torch.float32 and narrow.grad.dtype is torch.bfloat16
    torch.testing.assert_close(losses.double(), plain(*given)[1], rtol=0.05, atol=0.1)


def test_nothing_is_computed_for_a_gradient_that_nobody_wants(given):
    hidden, *rest = given
    loss, losses = linear_cross_entropy(hidden.detach(), *rest)
    assert not loss.requires_grad
    torch.testing.assert_close(losses, plain(*given)[1])


def test_a_target_that_is_no_number_spoils_its_own_row_alone(given):
    hidden, head, places, targets, weights = given
    expected = linear_cross_entropy(*given)
    grad = torch.autograd.grad(expected[0], hidden)[0]
    spoiled = hidden.detach().clone()
    spoiled[places[0]] = torch.nan
    spoiled.requires_grad_()
    loss, losses = linear_cross_entropy(spoiled, head, places, targets, weights)
    loss.backward()
    assert losses[0].isnan() and torch.equal(losses[1:], expected[1][1:])
    others = torch.arange(TOKENS) != places[0]
    assert torch.equal(spoiled.grad[others], grad[others])


def test_a_target_without_weight_counts_for_nothing_whatever_it_is(given):
    hidden, head, places, targets, weights = given
    spoiled = hidden.detach().clone()
    spoiled[places[3]] = torch.inf
    spoiled.requires_grad_()
    loss, _ = linear_cross_entropy(spoiled, head, places, targets, weights)
    loss.backward()
    assert loss.isfinite() and spoiled.grad.isfinite().all() and not spoiled.grad[places[3]].any()
