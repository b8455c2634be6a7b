import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loratory.objectives.packing.dropout import token_keys
from loratory.objectives.packing.passes import PassInputs, lay_out, padding_pass
from loratory.objectives.packing.shapes import (
    DropoutSeed,
    Piece,
    bucket_shape,
    exact_shape,
)

SLOTS, GRANULE = 4, 8


def make_pieces(lengths_by_slot, seed=0):
    """Pieces ordered by slot, from (slot, tokens) pairs."""
    draw, pieces = random.Random(seed), []
    for slot, tokens in sorted(lengths_by_slot, key=lambda pair: pair[0]):
        targets = draw.randint(1, tokens)
        pieces.append(
            Piece(
                slot=slot,
                input_ids=draw.choices(range(1, 100), k=tokens),
                first=tokens - targets,
                targets=draw.choices(range(1, 100), k=targets),
                weight=draw.random() + 0.1,
                dropout=draw.choice([None, DropoutSeed(slot, 3, len(pieces))]),
            )
        )
    return pieces


lengths = st.lists(st.tuples(st.integers(-1, SLOTS - 1), st.integers(1, 70)), min_size=1, max_size=12)


@pytest.mark.parametrize("shape_of", [exact_shape, bucket_shape])
@given(chosen=lengths)
def test_every_piece_has_its_place_and_all_else_is_padding(shape_of, chosen):
    pieces = make_pieces(chosen)
    shape = shape_of(pieces, slots=SLOTS, granule=GRANULE)
    host = lay_out(pieces, shape)
    inputs, owner = host.inputs, np.full(shape.tokens, -2)
    place_of_target = 0
    for piece, start, first_target in zip(pieces, host.starts, host.target_starts, strict=True):
        here = slice(start, start + len(piece.input_ids))
        there = slice(first_target, first_target + len(piece.targets))
        assert (owner[here] == -2).all()
        owner[here] = piece.slot
        assert inputs.input_ids[0, here].tolist() == piece.input_ids
        assert inputs.position_ids[0, here].tolist() == list(range(len(piece.input_ids)))
        assert inputs.places[there].tolist() == list(range(start + piece.first, here.stop))
        assert inputs.targets[there].tolist() == piece.targets
        assert set(inputs.target_slots[there].tolist()) == {piece.slot}
        assert torch.equal(inputs.weights[there], torch.full((len(piece.targets),), piece.weight))
        keys = inputs.dropout_keys[here].numpy()
        if piece.dropout is not None:
            np.testing.assert_array_equal(keys, token_keys(**piece.dropout._asdict(), tokens=len(keys)))
        place_of_target = there.stop
    assert not inputs.weights[place_of_target:].any()
    assert (inputs.target_slots[place_of_target:] == -1).all()
    assert host.useful_tokens == (owner > -2).sum()
    for slot in range(SLOTS):
        start, end = inputs.segments.bounds[slot].tolist()
        assert start % GRANULE == end % GRANULE == 0
        mine = np.zeros(shape.tokens, dtype=bool)
        mine[start:end] = True
        assert (mine[owner == slot]).all() and set(owner[mine]) <= {slot, -2}
        blocks = inputs.segments.block_slots.repeat_interleave(GRANULE).numpy()
        np.testing.assert_array_equal(blocks == slot, mine)
    spans = {span.slot: span[1:] for span in host.spans}
    assert spans == {s: tuple(inputs.segments.bounds[s].tolist()) for s in {p.slot for p in pieces} - {-1}}


@pytest.mark.parametrize("shape_of", [exact_shape, bucket_shape])
@given(chosen=lengths)
def test_sequences_are_the_pieces_and_padding_between_them(shape_of, chosen):
    pieces = make_pieces(chosen)
    shape = shape_of(pieces, slots=SLOTS, granule=GRANULE)
    host = lay_out(pieces, shape)
    ends = host.inputs.ends.tolist()
    assert (ends[0], ends[-1], len(ends)) == (0, shape.tokens, shape.sequences + 1)
    sizes = np.diff(ends)
    assert (sizes >= 0).all() and sizes.max() <= shape.longest
    pairs = set(pairwise(ends))
    assert all((s, s + len(p.input_ids)) in pairs for p, s in zip(pieces, host.starts, strict=True))


def test_targets_of_a_piece_may_be_apart():
    pieces = [
        Piece(slot=0, input_ids=[5, 6, 7, 8], first=0, targets=[6, 9], places=[0, 3], weight=0.5),
        Piece(slot=1, input_ids=[1, 2, 3], first=1, targets=[3, 4], weight=0.5),
    ]
    inputs = lay_out(pieces, exact_shape(pieces, slots=SLOTS, granule=GRANULE)).inputs
    begin = inputs.segments.bounds[1, 0].item()
    assert inputs.places.tolist() == [0, 3, begin + 1, begin + 2]
    assert inputs.targets.tolist() == [6, 9, 3, 4]


def test_pass_of_padding_is_nobodys():
    shape = bucket_shape(make_pieces([(0, 70), (2, 5)]), slots=SLOTS, granule=GRANULE)
    inputs = padding_pass(shape, torch.device("cpu"))
    assert (inputs.segments.block_slots == -1).all() and (inputs.target_slots == -1).all()
    assert not inputs.weights.any() and not inputs.segments.bounds.any()
    sizes = inputs.ends.diff()
    assert inputs.ends[-1] == shape.tokens and (sizes >= 0).all() and sizes.max() <= shape.longest


def test_parts_are_views_of_one_buffer():
    host = lay_out(make_pieces([(0, 9)]), exact_shape(make_pieces([(0, 9)]), slots=1, granule=8))
    buffer = torch.from_numpy(host.buffer.copy())
    inputs = PassInputs.over(buffer, host.shape, host.spans)
    inputs.buffer.copy_(torch.zeros_like(buffer))
    assert not any(part.any() for part in (inputs.input_ids, inputs.weights, inputs.ends, inputs.targets))
