from dataclasses import replace

import pytest

from loratory.objectives.packing.decoding.cache import CacheSizes
from loratory.objectives.qlora.memory.choose import (
    Asked,
    TooSmall,
    choose,
    fewest_slots,
    smallest,
    wanted_slots,
)
from loratory.objectives.qlora.memory.dry_pass import ActivationCurve, PassActivations
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import ModelFacts, Workload
from loratory.objectives.qlora.memory.pace import study_seconds
from loratory.objectives.qlora.memory.predict import cache_pages, predict

GIB = 2**30
LLAMA_7B = ModelFacts(
    linear_numbers=6_476_005_376,
    other_numbers=262_410_240,
    head_numbers=131_072_000,
    base_bytes=3_866_000_000,
    held_bytes=12_952_010_752,
    largest_matrix_bytes=90_177_536,
    compute_bytes=2,
    layers=32,
    width=4096,
    vocabulary=32_000,
    cache=CacheSizes(layers=32, key_heads=32, width=128),
    activations=PassActivations(
        training=ActivationCurve(((256, 1_176_000_000), (4096, 17_657_000_000), (16384, 70_003_000_000))),
        checkpointed=ActivationCurve(((256, 197_000_000), (4096, 1_797_000_000), (16384, 6_916_000_000))),
        forward=ActivationCurve(((256, 112_000_000), (4096, 1_344_000_000), (16384, 1_761_000_000))),
    ),
)
LOAD = Workload(
    trials=4,
    numbers_per_slot=39_976_960,
    wide=4,
    smallest_batch=4,
    largest_batch=8,
    mean_tokens=1024,
    longest_tokens=1024,
    longest_prompt=512,
    mean_prompt=512,
    max_new_tokens=32,
    prompts=16,
    trained_tokens=65_536,
    decoded_prompts=32,
)


def chosen(gibibytes, *, load=LOAD, **asked):
    return choose(
        LLAMA_7B,
        load,
        Asked(**asked),
        budget_bytes=int(gibibytes * GIB),
        pace=lambda size: study_seconds(LLAMA_7B, load, size),
    )


@pytest.mark.parametrize("gibibytes", [8, 10, 12, 16, 24, 40, 80])
def test_what_is_chosen_fits_and_a_smaller_budget_is_hardly_ever_faster(gibibytes):
    size, less = chosen(gibibytes), chosen(gibibytes * 0.97)
    assert isinstance(size, EngineSize) and isinstance(less, EngineSize)
    assert predict(LLAMA_7B, LOAD, size).total <= gibibytes * GIB
    assert study_seconds(LLAMA_7B, LOAD, size) <= 1.01 / 0.95 * study_seconds(LLAMA_7B, LOAD, less)


def test_memory_is_taken_for_what_gains_time():
    small, middle, large = chosen(10), chosen(24), chosen(80)
    assert small.checkpointing and not middle.checkpointing and not middle.hold_base
    assert large.hold_base and large.tokens_per_pass > middle.tokens_per_pass
    assert small.decoding_rows < 16 <= middle.decoding_rows


def test_eight_bits_change_results_and_are_chosen_only_where_asked():
    assert all(chosen(size).optimizer_bits == 32 for size in (8, 12, 24, 80))
    assert chosen(12, optimizer_bits=8).optimizer_bits == 8


def test_what_the_file_fixes_is_kept():
    size = chosen(
        60, slots=3, tokens_per_pass=1000, hold_base=False, checkpointing=True, offload=True, graphs=False
    )
    assert (size.slots, size.tokens_per_pass) == (3, 1000)
    assert (size.hold_base, size.checkpointing, size.offload, size.graphs) == (False, True, True, False)
    assert chosen(60, packs=False, slots=3).slots == 1
    assert chosen(60, decodes=False).decoding_rows == 0


def test_generate_answers_at_least_one_prompt_at_once():
    assert chosen(60, apart_rows=12).decoding_rows == 12
    assert chosen(8, apart_rows=12).decoding_rows == 3 and chosen(8, apart_rows=1).decoding_rows == 1


def test_no_more_rows_than_there_are_prompts():
    assert chosen(80, load=replace(LOAD, prompts=3)).decoding_rows <= 16


def test_too_little_is_told_with_the_smallest_arrangement():
    found = chosen(5)
    assert isinstance(found, TooSmall)
    assert found.size == smallest(LLAMA_7B, LOAD, Asked())
    assert found.terms.total > found.budget_bytes == 5 * GIB
    assert chosen(24, slots=200, load=replace(LOAD, trials=500)).__class__ is TooSmall


def test_slots_are_as_many_as_keep_a_gpu_busy():
    assert wanted_slots(replace(LOAD, smallest_batch=4096)) == 1
    assert wanted_slots(replace(LOAD, smallest_batch=1, trials=5)) == 5
    assert wanted_slots(replace(LOAD, smallest_batch=1, mean_tokens=100, trials=50)) == 16
    assert wanted_slots(replace(LOAD, trials=50)) == 2


@pytest.mark.parametrize(
    ("seconds", "seen", "expected"),
    [
        ({1: 200, 2: 130, 4: 105, 8: 101, 16: 100}, None, 4),  # 95%
        ({1: 200, 2: 130, 4: 105, 8: 101, 16: 100}, 8, 4),
        ({1: 200, 2: 130, 4: 120, 8: 101, 16: 100}, None, 8),
        ({1: 200, 2: 130, 4: 120, 8: 101, 16: 100}, 5, 4),  # 83%
        ({1: 120, 2: 115, 4: 112, 8: 101, 16: 100}, 2, 2),  # as many as suit the sampler
        ({1: 200, 2: 130, 4: 120, 8: 101, 16: 100}, 3, 4),  # at least 80%
        ({1: 200}, 3, 1),
    ],
)
def test_slots_are_the_fewest_that_keep_the_speed(seconds, seen, expected):
    assert fewest_slots(seconds, sampler_slots=seen) == expected


def test_a_sampler_that_learns_gets_fewer_slots():
    small = replace(LOAD, trials=32, mean_tokens=128, trained_tokens=65_536)
    free, seen = chosen(80, load=small), chosen(80, load=replace(small, sampler_slots=3))
    assert seen.slots <= 3 < free.slots
    assert study_seconds(LLAMA_7B, small, free) >= 0.8 * study_seconds(LLAMA_7B, small, seen)
    assert chosen(80, load=replace(small, sampler_slots=3), slots=16).slots == 16


def test_short_prompts_share_pages_and_the_longest_always_has_enough():
    dolly = replace(LOAD, longest_prompt=1024, mean_prompt=90, max_new_tokens=128)
    assert cache_pages(dolly, 1) == cache_pages(dolly, 7) == 1152 // 16
    assert cache_pages(dolly, 48) == 48 * 10  # 154 tokens
    sizes = {mean: chosen(24, load=replace(dolly, mean_prompt=mean, prompts=512)) for mean in (90, 1024)}
    assert sizes[90].decoding_rows >= 2 * sizes[1024].decoding_rows


def test_terms_follow_the_arrangement():
    size = EngineSize(slots=2, tokens_per_pass=2048, decoding_rows=16, hold_base=False)
    terms = predict(LLAMA_7B, LOAD, size)
    held = predict(LLAMA_7B, LOAD, replace(size, hold_base=True))
    assert held.held_base - terms.held_base == LLAMA_7B.held_bytes
    assert terms.adapters == 2 * 39_976_960 * 12 and terms.optimizer == 2 * 39_976_960 * 8
    eight = predict(LLAMA_7B, LOAD, replace(size, optimizer_bits=8))
    assert eight.optimizer == pytest.approx(terms.optimizer / 4, rel=0.02)
    assert predict(LLAMA_7B, LOAD, replace(size, offload=True)).optimizer < terms.optimizer / 4
    assert predict(LLAMA_7B, LOAD, replace(size, checkpointing=True)).activations < terms.activations / 4
    assert terms.cache == (16 * 36 + 1) * 16 * 2 * 32 * 32 * 128 * 2
    paged = predict(LLAMA_7B, LOAD, replace(size, cache_pages=100))
    assert paged.cache == 101 * 16 * 2 * 32 * 32 * 128 * 2
    assert sum(value for _, value in terms) == terms.total
    assert predict(LLAMA_7B, LOAD, replace(size, graphs=False)).graphs == 0
