"""Predicted paces against the readings of docs/performance.md."""

from types import SimpleNamespace
from typing import Any

import pytest

from loratory.objectives.packing.decoding.cache import CacheSizes
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.durations import rates_of, study_durations
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import Workload
from loratory.objectives.qlora.memory.pace import seconds_per_pass, seconds_per_read_token, seconds_per_step


def _facts(*, layers: int, width: int, inner: int, keys: int, vocabulary: int = 32_000) -> Any:
    """Return the facts of a Llama in bf16 and nf4 that paces depend on."""
    linear = layers * (2 * width * (width + keys) + 3 * width * inner)
    return SimpleNamespace(
        linear_numbers=linear,
        head_numbers=vocabulary * width,
        other_numbers=2 * vocabulary * width,
        base_bytes=round(0.516 * linear + 4 * vocabulary * width),
        held_bytes=2 * linear,
        compute_bytes=2,
        layers=layers,
        width=width,
        cache=CacheSizes(layers=layers, key_heads=keys // 64, width=64),
    )


SMALL = _facts(layers=22, width=2048, inner=5632, keys=256)
SEVEN = _facts(layers=32, width=4096, inner=11_008, keys=4096)
LLAMA_32 = _facts(layers=16, width=2048, inner=8192, keys=512, vocabulary=128_256)


@pytest.mark.parametrize(
    ("facts", "step", "rates"),
    [
        (SMALL, 256, (29_451, 69_622, 86_062, 92_287)),
        (SMALL, 512, (48_041, 89_796, 97_823, 97_291)),
        (SMALL, 1024, (66_333, 95_726, 99_951, 101_394)),
        (SMALL, 8192, (95_035, 103_756, 103_559, 104_128)),
        (SEVEN, 256, (10_616, 17_544, 18_518, 18_982)),
        (SEVEN, 512, (15_188, 18_910, 19_479, 19_874)),
        (SEVEN, 1024, (17_559, 19_564, 20_016, 19_900)),
        (SEVEN, 8192, (19_826, 20_261, 20_090, 20_201)),
        (LLAMA_32, 512, (53_588, 88_879, 95_761, 90_923)),
        (LLAMA_32, 8192, (91_243, 98_278, 98_297, 98_300)),
    ],
)
def test_tokens_per_second_on_an_h200(facts: Any, step: int, rates: tuple[int, ...]) -> None:
    for slots, measured in zip((1, 4, 8, 16), rates, strict=True):
        tokens = min(slots * step, 32_768)
        seconds = seconds_per_pass(
            facts,
            tokens,
            hold_base=True,
            checkpointing=False,
            graphs=True,
            rates=rates_of(gpu_named("H200")),
            length=128 if step <= 512 else 256,
        )
        assert tokens / seconds == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("facts", "held", "measured"),
    [(SMALL, True, 90_563), (SMALL, False, 83_433), (SEVEN, True, 18_940), (SEVEN, False, 17_455)],
)
def test_tokens_per_second_on_an_h100_by_format(facts: Any, held: bool, measured: int) -> None:
    seconds = seconds_per_pass(
        facts,
        4096,
        hold_base=held,
        checkpointing=False,
        graphs=True,
        rates=rates_of(gpu_named("H100")),
        length=128,
    )
    assert 4096 / seconds == pytest.approx(measured, rel=0.2)


def test_a_pass_costs_more_with_checkpointing_without_graphs_and_by_its_tokens() -> None:
    def seconds(tokens: int, **changes: bool) -> float:
        usual = {"hold_base": True, "checkpointing": False, "graphs": True}
        return seconds_per_pass(SEVEN, tokens, **(usual | changes))

    assert seconds(2048, checkpointing=True) > 1.3 * seconds(2048)
    assert seconds(2048, hold_base=False) > seconds(2048)
    assert seconds(64, graphs=False) > 1.1 * seconds(64)
    assert seconds(8192, graphs=False) == pytest.approx(seconds(8192))
    assert seconds(4096) > 1.8 * seconds(2048)


@pytest.mark.parametrize(("facts", "rows", "measured"), [(SMALL, 512, 57_300), (SEVEN, 432, 8_540)])
def test_decoded_tokens_per_second_on_an_h200(facts: Any, rows: int, measured: int) -> None:
    """Eight adapters decode 64 prompts of 128 tokens, 64 new ones each (benchmarks/results/h200.jsonl)."""
    rates = rates_of(gpu_named("H200"))
    step = seconds_per_step(facts, rows, positions=160, hold_base=True, graphs=True, rates=rates)
    rounds = -(-512 // rows)
    seconds = 512 * 128 * seconds_per_read_token(facts, rates, length=128) + 64 * step * rounds
    assert 512 * 64 / seconds == pytest.approx(measured, rel=0.3)


def test_a_whole_study_of_the_small_shape_on_an_h200() -> None:
    """32 trials, 1,900 updates, batches of 4 to 16 of 128 tokens: 61.5 to 64.5 s (docs/performance.md)."""
    workload = Workload(
        trials=32,
        numbers_per_slot=10**7,
        wide=4,
        smallest_batch=4,
        largest_batch=16,
        mean_tokens=128,
        longest_tokens=128,
        longest_prompt=64,
        mean_prompt=64,
        max_new_tokens=128,  # answers count as half of it: 64
        prompts=256,
        trained_tokens=1900 / 32 * 8.7 * 128,
        decoded_prompts=4 * 64 + 256,
    )
    size = EngineSize(slots=16, tokens_per_pass=32_768, decoding_rows=512, hold_base=True)
    durations = study_durations(SMALL, workload, size, gpu_named("H200"), scored_examples=512)
    assert durations.training_seconds + durations.scoring_seconds == pytest.approx(63, rel=0.3)
    assert durations.seconds(2) < 0.8 * durations.seconds(1)
    assert durations.gpu_seconds(2) > durations.gpu_seconds(1)
    assert durations.seconds(64) == durations.seconds(32)
    assert durations.of_trial(1.0) == durations.seconds_per_trial
