from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.packing.pass_budget import PassBudget, share_out

waiting_slots = st.dictionaries(
    st.integers(0, 7), st.lists(st.integers(1, 50), min_size=1, max_size=12), min_size=1
)


@given(waiting=waiting_slots, tokens=st.integers(1, 200), granule=st.sampled_from([1, 8, 32]))
def test_a_pass_is_filled_and_never_above_its_tokens(waiting, tokens, granule):
    def padded(lengths):
        return -(-sum(lengths) // granule) * granule

    shares = share_out(waiting, PassBudget(tokens, granule=granule))
    by_slot = {slot: [waiting[slot][place] for place in places] for slot, places in shares.items()}
    taken = sum(map(padded, by_slot.values()))
    assert all(len(places) == len(set(places)) > 0 for places in shares.values())
    assert next(iter(waiting)) in shares
    alone = sum(map(len, shares.values())) == 1
    assert taken <= tokens or alone
    for slot, lengths in waiting.items():
        own = by_slot.get(slot, [])
        for place, length in enumerate(lengths):
            if place not in shares.get(slot, []):
                assert taken - padded(own) + padded([*own, length]) > tokens


@given(waiting=waiting_slots, tokens=st.integers(1, 200))
def test_everything_passes_in_the_end(waiting, tokens):
    left, passes = {slot: list(lengths) for slot, lengths in waiting.items()}, 0
    while left:
        shares = share_out(left, PassBudget(tokens))
        kept = {s: [n for i, n in enumerate(w) if i not in shares.get(s, [])] for s, w in left.items()}
        left, passes = {slot: lengths for slot, lengths in kept.items() if lengths}, passes + 1
    assert passes <= sum(map(len, waiting.values()))


@given(waiting=waiting_slots, tokens=st.integers(1, 200), padded_to=st.sampled_from([1, 8]))
def test_rows_are_as_long_as_the_longest_and_all_of_them_count(waiting, tokens, padded_to):
    shares = share_out(waiting, PassBudget(tokens, granule=padded_to, apart=True))
    assert next(iter(waiting)) in shares
    lengths = [waiting[slot][place] for slot, places in shares.items() for place in places]
    row = -(-max(lengths) // padded_to) * padded_to
    assert row * len(lengths) <= tokens or len(lengths) == 1
    left = sum(map(len, waiting.values())) - len(lengths)
    assert (
        row * (len(lengths) + 1) > tokens
        or not left
        or all(
            waiting[slot][place] > row
            for slot in waiting
            for place in set(range(len(waiting[slot]))) - set(shares.get(slot, []))
        )
    )


def test_one_long_sequence_does_not_make_rows_of_many_short_ones_long():
    left, rows = [50] * 120 + [4000] + [50] * 120, []
    while left:
        taken = share_out({0: left}, PassBudget(16_384, granule=32, apart=True))[0]
        rows.append((len(taken), max(left[place] for place in taken)))
        left = [length for place, length in enumerate(left) if place not in taken]
    assert rows == [(4, 4000), (237, 50)]


def test_slots_go_on_at_one_pace():
    shares = share_out({0: [10] * 20, 1: [20] * 20, 2: [5] * 20}, PassBudget(120))
    assert {slot: len(places) for slot, places in shares.items()} == {0: 4, 1: 2, 2: 8}


def test_a_sequence_longer_than_a_pass_has_its_turn_when_its_slot_is_first():
    assert share_out({0: [500, 3], 1: [4]}, PassBudget(100)) == {0: [0]}
    assert share_out({1: [4], 0: [500, 3]}, PassBudget(100)) == {1: [0], 0: [1]}


def test_longest_goes_first_and_the_rest_is_filled_with_what_fits():
    assert share_out({0: [10, 60, 30]}, PassBudget(75)) == {0: [1, 0]}
