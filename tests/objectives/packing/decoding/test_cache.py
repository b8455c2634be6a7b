from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.packing.attention import AttentionCall, PaddedLayout
from loratory.objectives.packing.decoding.cache import (
    DecodeLayout,
    KeyValueCache,
    PrefillLayout,
    rows_that_fit,
)
from loratory.objectives.packing.decoding.pages import PAGE, PageTable

ROWS, PAGES, HEADS, KEY_HEADS, WIDTH, LAYERS = 3, 6, 4, 2, 8, 2
LENGTHS = (5, 17, 1)
SCALE = 0.3


def config(**changes):
    text = SimpleNamespace(
        **{
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_HEADS,
            "hidden_size": HEADS * WIDTH,
            **changes,
        }
    )
    return SimpleNamespace(get_text_config=lambda: text)


def drawn(tokens):
    query = torch.randn(tokens, HEADS, WIDTH, dtype=torch.float64)
    key, value = (torch.randn(tokens, KEY_HEADS, WIDTH, dtype=torch.float64) for _ in range(2))
    return query, key, value


def asked(parts, *, window=None, layer=0):
    query, key, value = parts
    return AttentionCall(query=query, key=key, value=value, scale=SCALE, window=window, layer=layer)


@pytest.fixture
def cache():
    torch.manual_seed(0)
    return KeyValueCache(config(), pages=PAGES, device=torch.device("cpu"), dtype=torch.float64)


@pytest.fixture
def table():
    """Pages of the rows: their first tokens, and then in turns those that follow."""
    made = PageTable(rows=ROWS, pages=PAGES, positions=24)
    for more in (0, 5):
        for row, length in enumerate(LENGTHS):
            assert made.extend(row, length + more)
    return made


@pytest.fixture(params=[None, 4], ids=["all the way", "window"])
def window(request):
    return request.param


def decode_after_prefill(cache, table, window, *, layer=1, steps=5):
    """The rows' last tokens asked one by one, and each row's whole sequence asked at once."""
    sequences = [drawn(length + steps) for length in LENGTHS]
    parts = [torch.cat([s[i][:n] for s, n in zip(sequences, LENGTHS, strict=True)]) for i in range(3)]
    places = torch.cat([torch.from_numpy(table.places(row, n)) for row, n in enumerate(LENGTHS)])
    ends = torch.tensor((0, *LENGTHS)).cumsum(0).tolist()
    inner = PaddedLayout.of(ends, torch.device("cpu"))
    kind = {"window": window, "layer": layer}
    prefill = asked(parts, **kind)
    assert torch.equal(PrefillLayout(inner, cache, places).attend(prefill), inner.attend(prefill))
    got = []
    for step in range(steps):
        lengths = torch.tensor(LENGTHS, dtype=torch.int32) + step
        new = [
            torch.stack([s[i][n + step] for s, n in zip(sequences, LENGTHS, strict=True)]) for i in range(3)
        ]
        got.append(DecodeLayout(cache, lengths, torch.from_numpy(table.numbers)).attend(asked(new, **kind)))
    whole = [
        PaddedLayout.of([0, len(s[0])], torch.device("cpu")).attend(asked(s, **kind))[-steps:]
        for s in sequences
    ]
    return torch.stack(got), torch.stack(whole, dim=1)


def test_tokens_one_by_one_see_what_they_see_at_once(cache, table, window):
    got, expected = decode_after_prefill(cache, table, window)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_what_an_earlier_prompt_left_is_not_seen(cache, table, window):
    for kept in (*cache.keys, *cache.values):
        kept.fill_(float("nan"))
    got, expected = decode_after_prefill(cache, table, window)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_layers_are_kept_apart(cache, table):
    decode_after_prefill(cache, table, None, layer=1)
    assert not cache.keys[0].any() and not cache.values[0].any()
    assert cache.keys[1].any() and cache.values[1].any()


def test_padding_is_written_where_nobody_reads(cache):
    parts = drawn(4)
    places = torch.tensor([cache.padding_place, PAGE + 2, cache.padding_place, cache.padding_place])
    inner = PaddedLayout.of([0, 4], torch.device("cpu"))
    PrefillLayout(inner, cache, places).attend(asked(parts))
    kept = cache.keys[0]
    assert torch.equal(kept[1, 2], parts[1][1])
    kept[1, 2] = 0
    assert not kept[:PAGES].any() and kept[PAGES, 0].any()


def test_width_of_a_head_may_be_its_own():
    made = KeyValueCache(
        config(head_dim=12, num_key_value_heads=None),
        pages=64,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    assert len(made.keys) == len(made.values) == LAYERS
    assert {t.shape for t in (*made.keys, *made.values)} == {(65, PAGE, HEADS, 12)}


@pytest.mark.parametrize("rows", [16, 48, 1024])
def test_as_many_rows_fit_as_the_memory_has(rows):
    page = 2 * LAYERS * PAGE * KEY_HEADS * WIDTH * 2  # bf16
    fits = {"positions": 64, "dtype": torch.bfloat16}
    assert rows_that_fit(config(), bytes=page * (4 * rows + 1), **fits) == rows
    assert rows_that_fit(config(), bytes=page * (4 * rows + 1) - 1, **fits) == max(16, rows - 16)
    assert rows_that_fit(config(), bytes=0, **fits) == 16
