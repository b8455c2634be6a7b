import torch

from loratory.objectives.packing.live_bytes import LiveBytes

MIB = 2**20
META = torch.device("meta")


def test_what_is_freed_is_counted_no_more():
    with LiveBytes() as live:
        first = torch.empty(MIB, dtype=torch.uint8, device=META)
        second = first + 1
        del first
        third = second + 1
        del second, third
    assert (live.peak, live.now) == (2 * MIB, 0)


def test_views_and_work_in_place_take_nothing():
    with LiveBytes() as live:
        x = torch.empty(MIB, dtype=torch.uint8, device=META)
        x.view(2, -1)[0].add_(1)
    assert live.peak == MIB


def test_what_was_there_before_is_not_counted():
    x = torch.empty(MIB, dtype=torch.uint8, device=META)
    with LiveBytes() as live:
        x.mul_(2)
        x[:100].clone()
    assert live.peak == 512


def test_what_autograd_keeps_is_alive_until_the_backward_pass():
    x = torch.empty(MIB // 4, device=META, requires_grad=True)
    with LiveBytes() as live:
        y = (x.exp() * x.sin()).sum()
        kept = live.now
        y.backward()
    assert kept >= 2 * MIB
    assert live.peak >= kept + MIB
