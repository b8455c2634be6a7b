import pytest

from loratory.objectives.qlora.trial import checkpointing
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock


@pytest.fixture
def clock(monkeypatch):
    """A checkpoint clock, and the time that it reads, which passes by hand."""
    now = [100.0]
    monkeypatch.setattr(checkpointing.time, "perf_counter", lambda: now[0])
    return CheckpointClock(), now


def test_small_checkpoints_are_always_made(clock):
    checkpoints, _ = clock
    for _ in range(5):
        assert checkpoints.begin()
        checkpoints.took(0.01)


def test_only_one_is_begun_before_it_is_known_what_one_costs(clock):
    checkpoints, _ = clock
    assert [checkpoints.begin() for _ in range(8)] == [True, *[False] * 7]


def test_large_checkpoints_take_a_fiftieth_of_the_time(clock):
    checkpoints, now = clock
    made = 0
    for _ in range(10_000):
        if checkpoints.begin():
            made += 1
            checkpoints.took(0.4)
            checkpoints.took(0.6)
        now[0] += 1.0
    assert 10_000 / 50 * 0.9 < made <= 10_000 / 50 + 1
