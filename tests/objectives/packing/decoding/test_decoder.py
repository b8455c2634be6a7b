import pytest
import torch
from peft_pair import ENDS, LONGEST, NEW_TOKENS, RANKS, Pair, draw_prompts, finish

from loratory.objectives.packing.decoding import decoder as decoder_module
from loratory.objectives.packing.decoding.apart import ApartDecoder
from loratory.objectives.packing.decoding.decoder import BASE, Prompt
from loratory.objectives.packing.decoding.steps import STEPS, DecodeSteps
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.out_of_memory import NothingLeftError, device_is_lost
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.shapes import Piece, exact_shape

KINDS = ("llama", "tied", "mistral", "qwen2", "qwen3")


@pytest.fixture(scope="module")
def make_pair(make_packed):
    made = {}

    def make(kind="llama"):
        if kind not in made:
            made[kind] = Pair(*make_packed(kind))
        return made[kind]

    return make


@pytest.fixture
def pair(make_pair):
    return make_pair()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_generate(make_pair, kind):
    pair = make_pair(kind)
    prompts = [p for slot in (BASE, 0, 1, 2) for p in draw_prompts(10 + 2 * slot, slot)]
    answers = pair.answers(prompts, rows=32)
    assert answers.keys() == {prompt.key for prompt in prompts}
    assert pair.near_ties(answers, prompts) <= 2
    lengths = {len(ids) for ids in answers.values()}
    assert NEW_TOKENS in lengths and len(lengths) > 3


@pytest.mark.parametrize("tokens", [1, 2, 8, 9, 10, 17])
def test_answers_end_at_any_step_of_a_chunk(pair, tokens):
    prompts = draw_prompts(3, 0) + draw_prompts(3, BASE)
    answers = pair.answers(prompts, ends=(), max_new_tokens=tokens)
    assert {len(ids) for ids in answers.values()} == {tokens}
    assert pair.near_ties(answers, prompts, ends=(), max_new_tokens=tokens) <= 1


def test_any_token_may_be_the_last(pair):
    (prompt,) = draw_prompts(1, 1, seed=3)
    ids, _ = pair.generate(prompt, ends=())
    for end in ids:
        answers = pair.answers([prompt], ends=(159, end) if 159 not in ids else (end,))
        assert list(answers[prompt.key]) == ids[: ids.index(end)]


@pytest.mark.parametrize("rows", [16, 48, 64, 128])
def test_rows_and_neighbours_do_not_matter(pair, rows):
    prompts = draw_prompts(20, 0) + draw_prompts(9, 2)
    together = pair.answers(prompts, rows=rows)
    alone = {}
    for prompt in prompts:
        alone |= pair.answers([prompt])
    different = [prompt for prompt in prompts if together[prompt.key] != alone[prompt.key]]
    # Sums of other sizes round otherwise: an answer may turn at a near tie, and nowhere else.
    assert len(different) <= 1
    assert pair.near_ties(together, different) == len(different)


def test_rows_are_refilled_while_others_run(pair):
    prompts = draw_prompts(40, 1)
    decoder = pair.decoder()
    decoder.add(prompts[:20])
    seen, calls = {}, 0
    while decoder.busy:
        seen |= {answer.key: answer.ids for answer in decoder.advance()}
        calls += 1
        if calls == 2:
            decoder.add(prompts[20:])
    assert seen == pair.answers(prompts, rows=64)
    # One after the other, three lots of full rows would take nine calls.
    assert calls <= 9


def test_a_dropped_slot_leaves_the_others_alone(pair):
    prompts = [p for slot in (0, 1, BASE) for p in draw_prompts(20, slot)]
    expected = pair.answers(prompts, rows=32)
    decoder = pair.decoder(rows=32)
    decoder.add(prompts)
    answers = {answer.key: answer.ids for answer in decoder.advance()}
    decoder.drop(1)
    after = finish(decoder)
    assert not any(slot == 1 for slot, _ in after)
    answers |= after
    kept = {key for key in expected if key[0] != 1}
    assert kept <= answers.keys()
    assert {key: answers[key] for key in kept} == {key: expected[key] for key in kept}


def test_nothing_is_left_when_the_last_slot_is_dropped(pair):
    decoder = pair.decoder()
    decoder.add(draw_prompts(20, 0))
    decoder.advance()
    decoder.drop(0)
    assert not decoder.busy and decoder.advance() == []


def test_nan_of_one_adapter_stays_in_its_own_answers(make_packed):
    pair = Pair(*make_packed())
    healthy = draw_prompts(12, 0) + draw_prompts(12, BASE)
    expected = pair.answers(healthy)
    pair.stack.master[1].fill_(float("nan"))
    decoder = pair.decoder(ends=())
    decoder.add(draw_prompts(40, 1))
    finish(decoder)
    decoder = pair.decoder(rows=16)
    decoder.add(draw_prompts(40, 1) + healthy)
    answers = finish(decoder)
    assert {prompt.key: answers[prompt.key] for prompt in healthy} == expected


def test_a_decoder_is_used_again(pair):
    decoder = pair.decoder()
    first, second = draw_prompts(6, 0), draw_prompts(18, 2, seed=5)
    decoder.add(first)
    assert finish(decoder) == pair.answers(first)
    decoder.add(second)
    assert finish(decoder) == pair.answers(second)


def test_many_prompts_are_read_in_several_passes(pair):
    prompts = draw_prompts(16, 0) + draw_prompts(16, 1)
    expected = pair.answers(prompts, rows=32)
    assert pair.answers(prompts, rows=32, prefill_tokens=100) == expected


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_fewer_rows_than_a_block_answer_the_same(pair, rows):
    prompts = draw_prompts(5, 0) + draw_prompts(4, 1)
    assert pair.answers(prompts, rows=rows) == pair.answers(prompts, rows=32)


def fail_first(monkeypatch, owner, name):
    """Let memory run out in the first call of a method."""
    real, calls = getattr(owner, name), []

    def method(*arguments):
        calls.append(name)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("too much")
        return real(*arguments)

    monkeypatch.setattr(owner, name, method)


def advance_out_of_memory(monkeypatch, decoder, part, prompts):
    """Begin on some prompts with a part of the decoder that runs out of memory once."""
    fail_first(monkeypatch, part, "run")
    decoder.add(prompts)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.advance()


def test_answers_are_kept_where_memory_runs_out_in_a_step(pair, monkeypatch):
    prompts = draw_prompts(20, 0) + draw_prompts(20, 1)
    (first, _) = pair.generate(prompts[3], ends=())
    ends = tuple({first[0], *ENDS})  # a prompt's first new token ends its answer
    expected = pair.answers(prompts, ends=ends)
    assert () in expected.values()
    decoder = pair.decoder(ends=ends)
    advance_out_of_memory(monkeypatch, decoder, decoder._steps, prompts)
    assert finish(decoder) == expected


def test_answers_that_were_not_given_back_are_dropped_with_their_slot(pair, monkeypatch):
    prompts = draw_prompts(4, 0)
    (first, _) = pair.generate(prompts[3], ends=())
    decoder = pair.decoder(ends=(first[0],))
    advance_out_of_memory(monkeypatch, decoder, decoder._steps, prompts)
    assert decoder._answers
    decoder.drop(0)
    assert not decoder.busy and decoder.advance() == []


def test_prompts_still_wait_where_memory_runs_out_while_they_are_read(pair, monkeypatch):
    prompts = draw_prompts(20, 0) + draw_prompts(20, BASE)
    expected, decoder = pair.answers(prompts), pair.decoder()
    advance_out_of_memory(monkeypatch, decoder, decoder._prefill, prompts)
    assert finish(decoder) == expected and decoder._rows._pages.free == decoder.pages


def test_a_decoder_that_shrinks_uses_fewer_rows_and_smaller_passes(pair, monkeypatch):
    prompts = [p for slot in (0, 1, BASE) for p in draw_prompts(40, slot)]
    rows, tokens, decoder = [], [], pair.decoder(rows=112)
    run, lay_out_pass = decoder._steps.run, decoder._prefill._lay_out
    monkeypatch.setattr(decoder._steps, "run", lambda state: rows.append(len(state.tokens)) or run(state))
    monkeypatch.setattr(
        decoder._prefill,
        "_lay_out",
        lambda some: tokens.append(sum(len(p.ids) for p in some)) or lay_out_pass(some),
    )
    decoder.add(prompts)
    answers = {answer.key: answer.ids for answer in decoder.advance()}
    assert rows == [112] and max(tokens) > 1024
    for limit in (48, 16, 16):
        assert decoder.shrink()
        assert decoder._rows.limit == limit and not decoder._steps._chunks
        rows.clear(), tokens.clear()
        answers |= {answer.key: answer.ids for answer in decoder.advance()}
        assert max(rows) <= limit
    tokens.clear()
    answers |= finish(decoder)
    assert answers.keys() == {prompt.key for prompt in prompts} and max(tokens) <= 1024
    assert pair.near_ties(answers, prompts[::7]) <= 2
    assert sum(decoder.shrink() for _ in range(20)) == 4  # 512, 256, 128, 64: the longest prompt has 60
    assert not decoder.shrink()


def test_a_smaller_cache_gives_the_same_answers_to_prompts_that_start_again(pair):
    prompts = [p for slot in (0, BASE) for p in draw_prompts(40, slot)]
    expected, decoder = pair.answers(prompts), pair.decoder(rows=48)
    decoder.add(prompts)
    answers, sizes = {}, [48]
    while decoder.reduce_cache():
        sizes.append(decoder.cached_rows)
        answers |= {answer.key: answer.ids for answer in decoder.advance()}
    assert sizes == [48, 16, 8, 4, 2, 1] and decoder.busy
    answers |= finish(decoder)
    assert answers.keys() == expected.keys() and pair.near_ties(answers, prompts[::7]) <= 2


@pytest.mark.parametrize("pages", [8, 21])
def test_answers_are_the_same_where_pages_end_in_the_middle(pair, pages):
    prompts = [p for slot in (0, 2, BASE) for p in draw_prompts(12, slot)]
    expected, decoder = pair.answers(prompts, rows=64), pair.decoder(rows=64, pages=pages)
    decoder._rows._lengths.append(1)  # answers are expected to be short, so that pages end
    decoder.add(prompts)
    answers = finish(decoder)
    assert answers.keys() == expected.keys() and pair.near_ties(answers, prompts[::7]) <= 2
    assert decoder._rows.restarted > 0 and decoder._rows._pages.free == pages


def test_rows_of_short_prompts_share_the_pages_of_few_long_ones(pair):
    short = [Prompt(slot=0, key=(0, key), ids=(5, 6, 7)) for key in range(40)]
    decoder = pair.decoder(rows=48, pages=4 * 8, ends=())
    decoder.add(short)
    decoder.advance()
    # 3 tokens and an answer of NEW_TOKENS in each row, where rows for the longest prompt would be 4.
    assert decoder._rows.running == 4 * 8 // -(-(3 + NEW_TOKENS) // 16) > 4
    assert len(finish(decoder)) == 40 and decoder._rows.restarted == 0


def test_a_cache_after_a_shrink_gets_the_rows_that_are_used(pair):
    decoder = pair.decoder(rows=112)
    assert decoder.shrink() and decoder._rows.limit == 48
    assert decoder.reduce_cache() and decoder.cached_rows == 48


def test_a_cache_that_fits_in_no_size_ends_the_worker(pair, monkeypatch):
    decoder, tried = pair.decoder(rows=48), []

    def full(config, *, pages, **sizes):
        tried.append(pages)
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(decoder_module, "KeyValueCache", full)
    with pytest.raises(NothingLeftError, match="cache of decoding") as raised:
        decoder.reduce_cache()
    row = decoder.pages // 48
    assert tried == [rows * row for rows in (16, 8, 4, 2, 1)] and device_is_lost(raised.value)


def test_rows_of_generate_are_at_least_one(pair):
    options = {"end_ids": ENDS, "padding_id": 0, "max_new_tokens": NEW_TOKENS}
    with pytest.raises(ValueError, match="rows: must be at least 1, got 0"):
        ApartDecoder(pair.packed, pair.stack, rows=0, **options)
    decoder = ApartDecoder(pair.packed, pair.stack, rows=1, **options)
    assert not decoder.shrink() and not decoder.reduce_cache()


def test_a_decoder_of_rows_apart_shrinks_to_one_and_loses_no_prompt(pair, monkeypatch):
    decoder = ApartDecoder(
        pair.packed, pair.stack, end_ids=ENDS, padding_id=0, max_new_tokens=NEW_TOKENS, rows=5
    )
    batches = []
    monkeypatch.setattr(decoder, "_answer", lambda slot, batch: batches.append(len(batch)) or batch)
    fail_first(monkeypatch, decoder, "_answer")
    decoder.add(draw_prompts(9, 0))
    with pytest.raises(torch.OutOfMemoryError):
        decoder.advance()
    keys = []
    for shrinks in (True, True, False):
        assert decoder.shrink() is shrinks
        keys += [prompt.key for prompt in decoder.advance()]
    while decoder.busy:
        keys += [prompt.key for prompt in decoder.advance()]
    assert batches == [2, *[1] * 7] and len(set(keys)) == 9


def test_blocks_and_spans_say_the_same(pair, monkeypatch):
    """The CPU reads spans alone, kernels on a GPU read blocks alone."""
    passes, logits = [], pair.packed.logits

    def recorded(inputs):
        blocks = torch.full_like(inputs.segments.block_slots, BASE)
        for slot, start, end in inputs.segments.spans:
            assert slot >= 0 and start % 16 == end % 16 == 0
            blocks[start // 16 : end // 16] = slot
        assert torch.equal(blocks, inputs.segments.block_slots)
        passes.append(set(blocks.tolist()))
        return logits(inputs)

    monkeypatch.setattr(pair.packed, "logits", recorded)
    pair.answers([p for slot in (0, 2, BASE) for p in draw_prompts(20, slot)], rows=64)
    assert len(passes) > 20 and {BASE, 0, 2} in passes


class Replayed:
    """What a graph does: all steps over, whatever the rows need, on tensors that stay where they are."""

    def __init__(self, steps, chunk):
        self._steps, self._chunk = steps, chunk
        steps._decode(chunk, 1)

    def replay(self):
        self._steps._decode(self._chunk, STEPS)


def test_capturing_a_graph_disturbs_no_running_row(pair, monkeypatch):
    prompts = [p for slot in (0, 1, BASE) for p in draw_prompts(20, slot)]
    monkeypatch.setattr(DecodeSteps, "_capture", lambda steps, chunk: Replayed(steps, chunk))
    decoder = pair.decoder(rows=112)
    decoder._steps._graphs = True
    decoder.add(prompts[:20])
    answers = {answer.key: answer.ids for answer in decoder.advance()}
    decoder.add(prompts[20:])
    answers |= finish(decoder)
    assert set(decoder._steps._chunks) == {32, 112}
    assert pair.near_ties(answers, prompts) <= 2


def test_gradients_after_decoding_are_those_without(pair):
    def gradients():
        pieces = [
            Piece(slot=p.slot, input_ids=p.ids, first=0, targets=p.ids[1:], weight=0.1)
            for slot in (0, 2)
            for p in draw_prompts(3, slot, seed=9)
            if len(p.ids) > 1
        ]
        host = lay_out(pieces, exact_shape(pieces, slots=pair.stack.slots, granule=16))
        sink = GradientSink(pair.stack)
        with pair.packed.enter_pass(host.inputs, pair.stack, gradients=sink):
            loss, _ = pair.packed.losses(host.inputs)
            loss.backward()
        return sink.flat

    before = gradients()
    decoder = pair.decoder()
    decoder.add(draw_prompts(20, 0))
    decoder.advance()
    assert torch.equal(gradients(), before)
    # Nor does training between two chunks change an answer.
    assert pair.answers(draw_prompts(20, 0)).items() >= finish(decoder).items()
    assert before[0].any() and before[2].any() and not before[1].any()


@pytest.mark.parametrize(
    ("slot", "ids"), [(0, ()), (0, (1,) * (LONGEST + 1)), (len(RANKS), (1, 2)), (-2, (1, 2))]
)
def test_prompts_that_cannot_be_answered_are_refused(pair, slot, ids):
    decoder = pair.decoder()
    with pytest.raises(ValueError, match="prompt it: must "):
        decoder.add([Prompt(slot=slot, key="it", ids=ids)])
    assert not decoder.busy


def test_rows_come_in_blocks(pair):
    with pytest.raises(ValueError, match="rows: must be 1 to 16 or a multiple of 16, got 24"):
        pair.decoder(rows=24)
