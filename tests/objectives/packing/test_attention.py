import pytest
import torch

from loratory.objectives.qlora.attention import PaddedLayout

HEADS, KEY_HEADS, WIDTH = 4, 2, 8
LENGTHS = ((5, 3), (7, 1))  # of the sequences of two lanes of ten tokens; two are padding


def layout():
    longest, rows, back = 7, [], []
    for lane, lengths in enumerate(LENGTHS):
        start, own = lane * 10, len(rows)
        places = []
        for length in lengths:
            row = len(rows)
            rows.append([*range(start, start + length), *[start] * (longest - length)])
            places += [row * longest + token for token in range(length)]
            start += length
        back += [*places, *[own * longest] * (10 - len(places))]
    return PaddedLayout(rows=torch.tensor(rows), back=torch.tensor(back))


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
    torch.manual_seed(0)
    heads = (HEADS, KEY_HEADS, KEY_HEADS)
    given = [torch.randn(2, 10, h, WIDTH, dtype=torch.float64, requires_grad=True) for h in heads]
    output = layout().attend(*given, scale=0.3, window=window)
    expected = torch.zeros_like(output)
    for lane, lengths in enumerate(LENGTHS):
        start = 0
        for length in lengths:
            part = [x[lane, start : start + length] for x in given]
            expected[lane, start : start + length] = alone(*part, window)
            start += length
    mask = (torch.arange(10) < 8)[None, :, None, None]
    torch.testing.assert_close(output * mask, expected, rtol=1e-12, atol=1e-12)
    pull = torch.randn_like(output) * mask
    grads = torch.autograd.grad((output * pull).sum(), given)
    for got, wanted in zip(grads, torch.autograd.grad((expected * pull).sum(), given), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_nan_stays_in_its_lane():
    torch.manual_seed(0)
    given = [torch.randn(2, 10, h, WIDTH) for h in (HEADS, KEY_HEADS, KEY_HEADS)]
    for x in given:
        x[0] = torch.nan
    output = layout().attend(*given, scale=0.3, window=None)
    assert output[0].isnan().all() and output[1].isfinite().all()
