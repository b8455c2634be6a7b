import itertools

import pytest
import torch
from transformers import TrainingArguments, get_scheduler

from loratory.objectives.qlora.trial.schedule import rate_factor, warmup_updates
from loratory.spaces.training import Schedule

PEAK = 0.03
THEIRS = {
    Schedule.COSINE: "cosine",
    Schedule.LINEAR: "linear",
    Schedule.CONSTANT: "constant_with_warmup",
}
UPDATES, SHARES = (2, 3, 7, 10, 40, 333), (0.0, 0.03, 0.05, 0.1, 0.15, 0.5, 0.99)


def rates_of_transformers(name, *, warmup, updates):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=updates)
    rates = []
    for _ in range(updates):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("schedule", "theirs"), THEIRS.items())
@pytest.mark.parametrize(("updates", "share"), itertools.product(UPDATES, SHARES))
def test_rates_and_warmup_are_those_of_transformers_and_its_trainer(schedule, theirs, updates, share):
    warmup = warmup_updates(schedule, share=share, updates=updates)
    arguments = object.__new__(TrainingArguments)  # without its checks of devices, which take a second
    arguments.warmup_steps = share
    assert warmup == arguments.get_warmup_steps(updates)
    found = [PEAK * rate_factor(schedule, step, warmup=warmup, updates=updates) for step in range(updates)]
    assert found == rates_of_transformers(theirs, warmup=warmup, updates=updates)


@pytest.mark.parametrize("schedule", THEIRS)
def test_first_rate_of_a_warmup_is_zero_and_a_trial_learns_all_the_same(schedule):
    two = warmup_updates(schedule, share=0.05, updates=2)
    assert [rate_factor(schedule, step, warmup=two, updates=2) for step in range(2)] == [0.0, 1.0]
    assert warmup_updates(schedule, share=0.05, updates=1) == 0, "Trainer would learn nothing"
    assert rate_factor(schedule, 0, warmup=0, updates=1) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.26, 0.99])
def test_schedules_of_0_1_0_start_above_zero_and_then_decay_likewise(share):
    updates = 10
    for schedule, present in zip(list(Schedule)[3:], list(Schedule)[:3], strict=True):
        warmup = warmup_updates(schedule, share=share, updates=updates)
        assert warmup == min(round(share * updates), updates - 1)
        found = [rate_factor(schedule, step, warmup=warmup, updates=updates) for step in range(updates)]
        assert found[: warmup + 1] == pytest.approx([(n + 1) / (warmup + 1) for n in range(warmup + 1)])
        rest = range(warmup, updates)
        assert found[warmup:] == [rate_factor(present, s, warmup=warmup, updates=updates) for s in rest]
