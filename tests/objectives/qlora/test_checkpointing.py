from types import SimpleNamespace

import pytest

from loratory.objectives.qlora import checkpointing as module
from loratory.objectives.qlora.checkpointing import CheckpointClock


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.seconds))
    return clock


def test_cheap_checkpoints_are_always_due(now):
    clock = CheckpointClock()
    assert clock.due
    clock.made(0.04)
    assert clock.due


def test_costly_ones_take_a_fiftieth_of_the_time(now):
    clock = CheckpointClock()
    clock.made(2.0)
    assert not clock.due
    now.seconds += 99.0
    assert not clock.due
    now.seconds += 1.0
    assert clock.due
    clock.made(0.01)
    assert clock.due
