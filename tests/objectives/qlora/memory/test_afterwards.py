"""Work besides the trials: what it is, and that durations and disk count it."""

from dataclasses import replace

import pytest
from tests.objectives.qlora.memory.test_pace import SMALL

from loratory.objectives.qlora.memory import afterwards as afterwards_module
from loratory.objectives.qlora.memory.afterwards import afterwards
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.disk import disk_bytes
from loratory.objectives.qlora.memory.durations import StudyDurations, study_durations
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import Workload
from loratory.reports.statistics.candidates import MOST
from loratory.spaces import StudySpec

WORKLOAD = Workload(
    trials=32,
    numbers_per_slot=10**7,
    wide=4,
    smallest_batch=4,
    largest_batch=16,
    mean_tokens=128,
    longest_tokens=128,
    longest_prompt=64,
    mean_prompt=64,
    max_new_tokens=128,
    prompts=256,
    trained_tokens=66_000,
    decoded_prompts=512,
)
SIZE = EngineSize(slots=16, tokens_per_pass=32_768, decoding_rows=512, hold_base=True)


def study(trials: int = 32, **changes: object) -> StudySpec:
    space = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}}
    fields = {"name": "s", "objective": "toy", "trials": trials, "space": space}
    return StudySpec.model_validate(fields | changes)


def durations(**parts: int) -> StudyDurations:
    sizes = {"select": 200, "confirm": 0, "test": 0}
    spec = study(confirmation=parts.pop("confirmation", None))
    after = afterwards(spec, **(sizes | parts))
    return study_durations(SMALL, WORKLOAD, SIZE, gpu_named("H100"), scored_examples=512, after=after)


def test_candidates_are_as_many_as_the_report_takes() -> None:
    assert afterwards_module.CONFIRMED == MOST


@pytest.mark.parametrize(
    ("trials", "confirm", "test", "scored"),
    [
        (32, 0, 0, (200,)),
        (32, 150, 0, (200, *[150] * 6)),
        (2, 150, 90, (200, *[150] * 3, 90, 90)),
        (32, 0, 90, (200, 90, 90)),
    ],
)
def test_scorings_outside_trials(trials: int, confirm: int, test: int, scored: tuple[int, ...]) -> None:
    after = afterwards(study(trials), select=200, confirm=confirm, test=test)
    assert after.scored == scored and after.scored_examples == sum(scored)
    assert (after.settings, after.seeds, after.retrainings) == (0, 0, 0)


def test_no_more_settings_are_trained_again_than_there_are_trials() -> None:
    after = afterwards(study(2, confirmation={"top": 3, "seeds": 5}), select=200, confirm=100, test=0)
    assert (after.settings, after.retrainings, after.confirmed) == (2, 10, 5)


def test_durations_count_it_and_the_search_stays_as_it_was() -> None:
    plain, more = durations(), durations(confirm=200, test=200)
    again = durations(confirm=200, test=200, confirmation={"top": 3, "seeds": 5})  # type: ignore[arg-type]
    assert plain.closing_seconds < more.closing_seconds == again.closing_seconds
    assert plain.search_seconds(2) == again.search_seconds(2) < plain.seconds(2) < more.seconds(2)
    assert again.retraining_seconds == pytest.approx(15 * plain.seconds_per_trial)
    assert again.gpu_seconds(1) - more.gpu_seconds(1) == pytest.approx(again.retraining_seconds)
    assert again.seconds(1) == pytest.approx(again.gpu_seconds(1))
    assert again.seconds(64) < again.seconds(2)


def test_scoring_takes_about_the_time_of_as_many_examples_in_a_trial_without_a_pack() -> None:
    """Nine scorings of 200 beside the 512 prompts of each of 32 trials, with the same rows at once."""
    more = durations(confirm=200, test=200)
    alone = study_durations(
        SMALL, replace(WORKLOAD, trials=1), replace(SIZE, slots=1), gpu_named("H100"), scored_examples=512
    )
    per_example = alone.scoring_seconds / 512
    assert more.closing_seconds == pytest.approx(9 * 200 * per_example, rel=0.35)


def test_the_disk_counts_it() -> None:
    sizes = {"running": 4, "mean_numbers": 1e6, "largest_numbers": 10**6, "select_examples": 100}
    plain = disk_bytes(trials=3, max_new_tokens=64, **sizes)  # type: ignore[arg-type]
    more = disk_bytes(trials=3, max_new_tokens=64, retrainings=15, scored_examples=1000, **sizes)  # type: ignore[arg-type]
    assert more.adapters == 6 * plain.adapters
    assert more.checkpoints * 3 == plain.checkpoints * 4, "four run at once, of three trials three"
    assert more.predictions > 6 * plain.predictions + 1000 * 64 * 4
