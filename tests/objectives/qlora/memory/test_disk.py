"""Bytes of a study folder."""

from loratory.objectives.qlora.memory.disk import disk_bytes


def test_adapters_are_fp32_and_checkpoints_hold_moments_and_the_best_state() -> None:
    size = disk_bytes(
        trials=10,
        running=4,
        mean_numbers=1e6,
        largest_numbers=2_000_000,
        select_examples=100,
        max_new_tokens=64,
    )
    assert size.adapters == 40_000_000
    assert size.checkpoints == 4 * 2_000_000 * 16
    assert 10 * 100 * 64 * 4 < size.predictions < 2_000_000
    assert size.total == size.adapters + size.checkpoints + size.predictions


def test_no_more_trials_run_than_there_are() -> None:
    size = disk_bytes(
        trials=2, running=20, mean_numbers=1, largest_numbers=1, select_examples=0, max_new_tokens=0
    )
    assert size.checkpoints == 2 * 16
