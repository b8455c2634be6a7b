from dataclasses import replace
from types import SimpleNamespace

import pytest

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import OptimizerBatch, example_piece, train_pass
from loratory.objectives.packing.pass_budget import PassBudget
from loratory.objectives.packing.shapes import DropoutSeed


def example(prompt, answer):
    return Example(
        example_id="",
        group="",
        prompt="",
        reference="",
        prompt_ids=tuple(range(prompt)),
        answer_ids=tuple(range(100, 100 + answer)),
    )


EXAMPLES = [example(3, 2), example(5, 4), example(1, 1)]


def make(**options):
    return OptimizerBatch(EXAMPLES, **({"seed": 7, "step": 2, "dropout": True} | options))


def test_answers_are_the_targets_of_the_places_before_them():
    piece = example_piece(EXAMPLES[1], slot=3, weight=0.5)
    assert list(piece.input_ids) == [0, 1, 2, 3, 4, 100, 101, 102]
    assert (piece.first, list(piece.targets), piece.slot) == (4, [100, 101, 102, 103], 3)
    assert piece.first + len(piece.targets) == len(piece.input_ids)


def test_learned_tokens_of_a_prompt_are_targets_too():
    learned = replace(EXAMPLES[1], learned=(False, True, False, True, False, *[True] * 4))
    batch = OptimizerBatch([EXAMPLES[0], learned], seed=7, step=2, dropout=False)
    assert batch.target_tokens == 2 + 6
    plain, piece = batch.take([0, 1], slot=3, loss_scale=1.0)
    assert plain.places is None
    assert (list(piece.places), list(piece.targets)) == ([0, 2, 4, 5, 6, 7], [1, 3, 100, 101, 102, 103])
    assert list(piece.input_ids) == [0, 1, 2, 3, 4, 100, 101, 102]
    assert example_piece(learned, slot=3).targets == learned.answer_ids  # what is scored is the answer


def test_examples_pass_once_each_and_keep_their_place_in_the_batch():
    batch = make()
    assert (batch.lengths, batch.target_tokens, batch.tokens) == ([4, 8, 1], 7, 16)
    first = batch.take([1], slot=2, loss_scale=1.0)
    assert (batch.lengths, batch.done) == ([4, 1], False)
    second = batch.take([1, 0], slot=2, loss_scale=1.0)
    assert batch.done and batch.lengths == []
    assert [piece.dropout for piece in (*first, *second)] == [DropoutSeed(7, 2, place) for place in (1, 2, 0)]
    assert [len(piece.input_ids) for piece in (*first, *second)] == [8, 1, 4]


def test_weights_are_those_of_the_mean_over_all_answer_tokens():
    pieces = make().take([0, 1, 2], slot=0, loss_scale=8.0)
    assert sum(piece.weight * len(piece.targets) for piece in pieces) == pytest.approx(8.0)
    assert len({piece.weight for piece in pieces}) == 1


def test_a_batch_that_is_rewound_begins_again():
    batch = make(dropout=False)
    taken = batch.take([0, 2], slot=0, loss_scale=1.0)
    assert [piece.dropout for piece in taken] == [None, None]
    batch.rewind()
    assert batch.lengths == [4, 8, 1] and not batch.done


def pack_of(trained, *, concatenates=True):
    return SimpleNamespace(
        pass_budget=lambda tokens: PassBudget(tokens, granule=8, apart=not concatenates),
        optimizer=lambda slot: SimpleNamespace(loss_scale=2.0**slot),
        train=trained.extend,
    )


def test_rows_of_their_own_count_with_their_padding():
    examples = [example(3990, 11), *[example(40, 11)] * 240]
    for concatenates, passes in ((True, [241]), (False, [4, 237])):
        batch, counts = OptimizerBatch(examples, seed=7, step=2, dropout=False), []
        while not batch.done:
            trained = []
            train_pass(pack_of(trained, concatenates=concatenates), {0: batch}, tokens=16_384)
            counts.append(len(trained))
        assert counts == passes


def test_pieces_of_a_pass_are_ordered_by_slot_with_the_loss_scale_of_each():
    trained = []
    pack = pack_of(trained)
    batches = {2: make(), 0: make()}
    train_pass(pack, batches, tokens=24)  # 13 tokens of a batch take 16
    assert [piece.slot for piece in trained] == [0, 2, 2, 2]
    assert {piece.slot: piece.weight * 7 for piece in trained} == {0: pytest.approx(1), 2: pytest.approx(4)}
    assert (batches[0].lengths, batches[2].done) == ([4, 1], True)
