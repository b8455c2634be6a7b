from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.packing.attention import AttentionCall, PaddedLayout
from loratory.objectives.packing.attention_interface import packed_attention
from loratory.objectives.packing.context import PassContext

HEADS, KEY_HEADS, WIDTH = 4, 2, 8
ENDS = (0, 5, 8, 8, 15, 16, 20, 20)  # as a pass has them: some may repeat
SEQUENCES = ((0, 5), (5, 8), (8, 15), (15, 16), (16, 20))


def drawn(dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(20, h, WIDTH, dtype=dtype) for h in (HEADS, KEY_HEADS, KEY_HEADS)]


def attend(given, window=None):
    query, key, value = given
    call = AttentionCall(query=query, key=key, value=value, scale=0.3, window=window, layer=0)
    return PaddedLayout.of(ENDS, torch.device("cpu")).attend(call)


def alone(query, key, value, window):
    """Attention of one sequence [T, heads, width], written out."""
    place = torch.arange(len(query))
    distance = place[:, None] - place[None, :]
    seen = (distance >= 0) & (distance < (window or 10**6))
    key, value = (x.repeat_interleave(HEADS // KEY_HEADS, dim=1) for x in (key, value))
    scores = torch.einsum("qhw,khw->hqk", query, key) * 0.3
    return torch.einsum("hqk,khw->qhw", scores.masked_fill(~seen, -torch.inf).softmax(-1), value)


@pytest.mark.parametrize("window", [None, 3])
def test_each_sequence_sees_itself_alone(window):
    given = [x.requires_grad_() for x in drawn()]
    output = attend(given, window)
    expected = torch.cat([alone(*(x[start:end] for x in given), window) for start, end in SEQUENCES])
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    pull = torch.randn_like(output)
    grads = torch.autograd.grad((output * pull).sum(), given)
    for got, wanted in zip(grads, torch.autograd.grad((expected * pull).sum(), given), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_nan_stays_in_its_sequence():
    given = drawn(torch.float32)
    for x in given:
        x[5:8] = torch.nan
        x.requires_grad_()
    output = attend(given)
    output.sum().backward()
    healthy = torch.ones(20, dtype=torch.bool).index_fill(0, torch.arange(5, 8), False)
    assert output[5:8].isnan().all() and output[healthy].isfinite().all()
    assert all(x.grad[healthy].isfinite().all() for x in given)


@pytest.mark.parametrize(
    "asked",
    [
        {"attention_mask": torch.zeros(1)},
        {"dropout": 0.1},
        {"softcap": 50.0},
        {"s_aux": torch.zeros(4)},
        {"is_causal": False},
    ],
)
def test_attention_of_another_kind_is_refused(asked):
    module = SimpleNamespace(pass_context=PassContext(), layer_idx=0, is_causal=True)
    with pytest.raises(NotImplementedError, match="attention"):
        packed_attention(module, *drawn(), **({"attention_mask": None} | asked))
