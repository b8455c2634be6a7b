import random

from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.packing.pass_budget import PassBudget, share_out
from loratory.objectives.packing.shapes import Piece, bucket, bucket_shape, bucket_within

GRANULE = 8


def piece(slot, tokens, *, targets=1):
    return Piece(slot=slot, input_ids=range(tokens), first=tokens - targets, targets=range(targets))


@given(number=st.integers(1, 10**6))
def test_buckets_are_few_and_at_most_a_quarter_too_large(number):
    size = bucket(number, 256)
    within = bucket_within(number, 256)
    assert within == 256 > number or within <= number <= within * 1.25
    assert bucket(within, 256) == within
    assert number <= size <= max(256, number * 1.25)
    assert size % 64 == 0


@given(
    waiting=st.dictionaries(st.integers(0, 7), st.lists(st.integers(1, 600), min_size=1), min_size=1),
    tokens=st.sampled_from([1024, 1280, 4096]),
)
def test_a_full_pass_has_a_shape_of_its_own_tokens(waiting, tokens):
    shares = share_out(waiting, PassBudget(tokens, granule=GRANULE))
    pieces = [piece(s, waiting[s][place]) for s in sorted(shares) for place in shares[s]]
    assert bucket_shape(pieces, slots=8, granule=GRANULE).tokens <= tokens


@given(lengths=st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1)), min_size=1, max_size=40))
def test_targets_take_half_three_quarters_or_all_of_a_pass(lengths):
    pieces = [piece(0, tokens, targets=max(1, int(part * tokens))) for tokens, part in lengths]
    shape, targets = bucket_shape(pieces, slots=1, granule=GRANULE), sum(len(p.targets) for p in pieces)
    quarters = 4 * shape.targets // shape.tokens
    assert quarters in (2, 3, 4)
    assert targets <= shape.targets
    assert quarters == 2 or targets > (quarters - 1) * shape.tokens // 4


def test_batches_of_one_trial_share_a_few_shapes():
    draw = random.Random(0)
    shapes = set()
    for _ in range(300):
        lengths = [draw.randint(20, 60) for _ in range(draw.randint(12, 16))]
        pieces = [piece(0, tokens, targets=draw.randint(1, tokens)) for tokens in lengths]
        shapes.add(bucket_shape(pieces, slots=1, granule=32))
    assert len(shapes) <= 12
