from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.data.drawing import draw, rank, split_count, split_fraction

LETTERS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 10**6)), min_size=3, max_size=60, unique=True
)


def _group(item):
    return item[0]


def _key(item):
    return f"{item[0]}{item[1]}"


def test_the_order_is_fixed_for_ever():
    assert sorted("abcdef", key=lambda key: rank("dev", key)) == ["b", "e", "f", "d", "a", "c"]
    assert sorted("abcdef", key=lambda key: rank("train", key)) == ["d", "a", "b", "c", "e", "f"]


@given(items=LETTERS, count=st.integers(1, 70))
def test_a_draw_does_not_depend_on_order_and_grows_by_adding(items, count):
    drawn = draw(items, count, key=_key, salt="s")
    assert len(drawn) == min(count, len(items))
    assert list(drawn) == [item for item in items if item in drawn]
    assert set(draw(items[::-1], count, key=_key, salt="s")) == set(drawn)
    assert set(drawn) <= set(draw(items, count + 1, key=_key, salt="s"))


@given(
    items=LETTERS.filter(lambda items: len({item[0] for item in items}) > 1), fraction=st.floats(0.01, 0.99)
)
def test_a_fraction_takes_whole_groups_and_leaves_some(items, fraction):
    halves = split_fraction(items, fraction, group=_group, salt="eval")
    assert halves.drawn
    assert halves.rest
    assert not {item[0] for item in halves.drawn} & {item[0] for item in halves.rest}
    assert Counter(halves.drawn + halves.rest) == Counter(items)


def test_a_fraction_of_single_rows_is_met():
    items = [(str(n), n) for n in range(200)]
    assert len(split_fraction(items, 0.1, group=_group, salt="eval").drawn) == 20


@given(items=LETTERS, data=st.data())
def test_a_count_is_met_and_no_group_stands_in_both(items, data):
    count = data.draw(st.integers(1, len(items) - 1))
    halves = split_count(items, count, group=_group, key=_key, salt="dev")
    assert len(halves.drawn) == count
    assert halves.rest
    assert Counter(halves.drawn + halves.rest + halves.held_back) == Counter(items)
    assert len(halves.held_back) <= len(items) / 10
    if halves.by_group:
        assert not {item[0] for item in halves.drawn} & {item[0] for item in halves.rest}
    else:
        assert not halves.held_back


@pytest.mark.parametrize(
    ("sizes", "count", "by_group", "held_back"),
    [
        ([3] * 30, 30, True, 0),
        ([3] * 30, 31, True, 2),
        ([50, 50], 10, False, 0),
        ([1] * 20, 7, True, 0),
        ([100, *[1] * 20], 15, True, 0),
    ],
)
def test_groups_are_kept_whole_where_that_costs_little(sizes, count, by_group, held_back):
    items = [(f"g{g}", n) for g, size in enumerate(sizes) for n in range(size)]
    halves = split_count(items, count, group=_group, key=_key, salt="dev")
    assert (halves.by_group, len(halves.held_back), len(halves.drawn)) == (by_group, held_back, count)


LABELLED = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 10**6)),
    min_size=4,
    max_size=80,
    unique_by=lambda item: item[2],
)


def _label(item):
    return item[1]


def _each(item):
    return str(item[2])


@given(items=LABELLED, fraction=st.floats(0.01, 0.99))
def test_a_fraction_leaves_an_item_of_each_label(items, fraction):
    halves = split_fraction(items, fraction, group=lambda item: str(item[0]), salt="eval", label=_label)
    assert {_label(item) for item in halves.rest} == {_label(item) for item in items}
    assert not {item[0] for item in halves.drawn} & {item[0] for item in halves.rest}


def test_labels_are_drawn_in_proportion():
    items = [(n, "abbbccccccc"[n % 11], n) for n in range(1100)]
    wanted = {"a": 10, "b": 30, "c": 70}
    halves = split_fraction(items, 0.1, group=_each, salt="eval", label=_label)
    assert Counter(map(_label, halves.drawn)) == wanted
    halves = split_count(items, 110, group=_each, key=_each, salt="dev", label=_label)
    assert Counter(map(_label, halves.drawn)) == wanted
    assert Counter(map(_label, draw(items, 110, key=_each, salt="test", label=_label))) == wanted


def test_a_label_with_one_item_is_not_drawn_and_one_with_few_is():
    items = [(n, "a", n) for n in range(30)] + [(30, "b", 30)] + [(n, "c", n) for n in range(31, 35)]
    halves = split_fraction(items, 0.25, group=_each, salt="eval", label=_label)
    assert Counter(map(_label, halves.drawn))["b"] == 0
    assert Counter(map(_label, halves.drawn))["c"] == 1
