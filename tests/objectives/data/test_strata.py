from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.data.drawing import draw, split_count, split_fraction

ITEMS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 10**6)), min_size=2, max_size=80, unique=True
)


def _label(item):
    return item[0]


def _key(item):
    return f"{item[0]}{item[1]}"


def test_labels_keep_their_shares_to_a_row():
    items = [(name, n) for name, count in {"a": 700, "b": 250, "c": 50}.items() for n in range(count)]
    halves = split_fraction(items, 0.1, group=_key, salt="eval", label=_label)
    assert Counter(map(_label, halves.drawn)) == {"a": 70, "b": 25, "c": 5}
    assert Counter(map(_label, draw(items, 40, key=_key, salt="s", label=_label))) == {
        "a": 28,
        "b": 10,
        "c": 2,
    }
    dev = split_count(items, 100, group=_key, key=_key, salt="dev", label=_label)
    assert Counter(map(_label, dev.drawn)) == {"a": 70, "b": 25, "c": 5}
    assert split_fraction(items[::-1], 0.1, group=_key, salt="eval", label=_label).drawn[::-1] == halves.drawn


@given(items=ITEMS, data=st.data())
def test_counts_are_met(items, data):
    count = data.draw(st.integers(1, len(items) - 1))
    assert len(draw(items, count, key=_key, salt="s", label=_label)) == count
    assert len(split_count(items, count, group=_key, key=_key, salt="s", label=_label).drawn) == count
