from dataclasses import replace

import pytest
import torch
from on_gpu import DEVICE, HALVES, KERNELS

from loratory.objectives.packing.attention import AttentionCall
from loratory.objectives.packing.decoding.pages import PAGE
from loratory.objectives.packing.kernels.cached_attention import attend_cached

pytestmark = KERNELS
ROWS, POSITIONS, HEADS = 13, 320, 2
LIMITS = {torch.float32: 5e-6, torch.bfloat16: 1.6e-2, torch.float16: 2e-3}


def drawn(*size, dtype):
    return torch.randn(*size, device=DEVICE).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "group", "width"),
    [
        (torch.float32, 1, 64),
        (torch.float32, 8, 96),
        (torch.float32, 4, 256),
        *((dtype, *size) for dtype in HALVES for size in ((1, 64), (4, 128))),
    ],
    ids=str,
)
def test_it_is_attention_over_each_row_so_far(dtype, group, width):
    from loratory.objectives.packing.kernels.cached_attention_triton import attend

    torch.manual_seed(0)
    lengths = torch.randint(POSITIONS, (ROWS,), device=DEVICE, dtype=torch.int32)
    lengths[:4] = torch.tensor([0, 63, 64, POSITIONS - 1])
    query = drawn(ROWS, HEADS * group, width, dtype=dtype)
    key, value = (drawn(ROWS, HEADS, width, dtype=dtype) for _ in range(2))
    table = torch.randperm(ROWS * POSITIONS // PAGE, device=DEVICE).reshape(ROWS, -1).int()
    cached = [drawn(ROWS * POSITIONS // PAGE + 1, PAGE, HEADS, width, dtype=dtype) for _ in range(2)]
    later = torch.arange(POSITIONS, device=DEVICE) >= lengths[:, None]
    places = (table.long()[:, :, None] * PAGE + torch.arange(PAGE, device=DEVICE)).flatten(1)
    for kept in cached:
        kept.flatten(0, 1)[places[later]] = torch.nan  # what an earlier prompt left
    for window in (None, 1, 17, 100, 4096):
        call = AttentionCall(query=query, key=key, value=value, scale=width**-0.5, window=window, layer=0)
        mine, exact = [kept.clone() for kept in cached], [kept.double() for kept in cached]
        got = attend(call, *mine, lengths, table)
        for kept, new in zip(exact, (key, value), strict=True):
            kept.flatten(0, 1)[places.gather(1, lengths.long()[:, None])[:, 0]] = new.double()
        expected = attend_cached(replace(call, query=query.double()), *exact, lengths, table)
        assert (got.double() - expected).abs().max() < LIMITS[dtype]
        for kept, wanted in zip(mine, exact, strict=True):
            assert torch.equal(kept.double().nan_to_num(9.0), wanted.nan_to_num(9.0))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_keys_and_values_are_kept_at_their_places_and_nowhere_else(dtype):
    from loratory.objectives.packing.kernels.cached_attention_triton import store

    torch.manual_seed(0)
    keys, values = (torch.zeros(5, 32, 2, 96, device=DEVICE, dtype=dtype) for _ in range(2))
    key, value = (drawn(40, 2, 96, dtype=dtype) for _ in range(2))
    places = torch.randperm(160, device=DEVICE)[:40]
    store(keys, values, key, value, places)
    for kept, new in ((keys.flatten(0, 1), key), (values.flatten(0, 1), value)):
        assert torch.equal(kept[places], new)
        assert kept.flatten(1).any(1).sum() == 40
