import itertools

import pytest

from loratory.objectives.qlora.trial.plan import Plan
from loratory.spaces.training import Schedule, TrainingParameters


def plan(*, train_examples=10, evaluations=4, seed=3, **training):
    return Plan(
        training=TrainingParameters(**training),
        seed=seed,
        train_examples=train_examples,
        evaluations=evaluations,
    )


def examples_of(made):
    return list(itertools.chain.from_iterable(made.batch(step) for step in range(made.optimizer_steps)))


@pytest.mark.parametrize(
    ("epochs", "batch_size", "steps", "examples"),
    [(1.0, 4, 3, 10), (2.5, 4, 7, 25), (0.01, 4, 1, 1), (3.0, 100, 1, 30), (1.0, 10, 1, 10)],
)
def test_epochs_are_kept_to_the_example(epochs, batch_size, steps, examples):
    made = plan(epochs=epochs, batch_size=batch_size)
    assert made.optimizer_steps == steps
    assert len(examples_of(made)) == examples


def test_every_epoch_sees_each_example_once_in_an_order_of_its_own():
    order = examples_of(plan(epochs=3.0, batch_size=4))
    epochs = [order[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_order_depends_on_the_seed_alone():
    assert examples_of(plan(batch_size=2)) == examples_of(plan(batch_size=5))
    assert examples_of(plan(seed=3)) != examples_of(plan(seed=4))


@pytest.mark.parametrize(("examples", "evaluations"), [(100, 4), (7, 3), (3, 5), (1, 4), (12, 12)])
def test_grid_points_fall_at_equal_fractions_and_end_with_the_last_step(examples, evaluations):
    made = plan(train_examples=examples, batch_size=1, evaluations=evaluations)
    steps = made.optimizer_steps
    first = [
        next(step for step in range(1, steps + 1) if made.evaluations_due(step) >= point)
        for point in range(1, evaluations + 1)
    ]
    assert first == [-(-point * steps // evaluations) for point in range(1, evaluations + 1)]
    assert first[0] >= 1
    assert made.evaluations_due(steps) == evaluations
    assert made.evaluations_due(0) == 0


def rates(**training):
    made = plan(train_examples=10, batch_size=1, learning_rate=0.1, **training)
    return [made.learning_rate(step) for step in range(10)]


def test_warmup_rises_in_equal_parts_and_loses_no_step():
    assert rates(warmup=0.3, schedule=Schedule.CONSTANT_NONZERO_START) == pytest.approx(
        [0.025, 0.05, 0.075, *[0.1] * 7]
    )


@pytest.mark.parametrize("examples", [2, 5, 10])
def test_longest_warmup_leaves_a_step_at_the_peak(examples):
    given = {"learning_rate": 0.1, "warmup": 0.99, "schedule": Schedule.COSINE_NONZERO_START}
    made = plan(train_examples=examples, batch_size=1, **given)
    found = [made.learning_rate(step) for step in range(examples)]
    assert found == pytest.approx([0.1 * (step + 1) / examples for step in range(examples)])


def test_linear_schedule_reaches_zero_after_the_last_step():
    assert rates(warmup=0.0, schedule=Schedule.LINEAR) == pytest.approx(
        [0.1 - 0.01 * step for step in range(10)]
    )


def test_cosine_schedule_agrees_with_transformers():
    import torch
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 0, 10)
    theirs = []
    for _ in range(10):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(warmup=0.0) == pytest.approx(theirs)


def test_single_step_trains_at_the_peak():
    assert plan(train_examples=1, batch_size=1, learning_rate=0.1, warmup=0.05).learning_rate(0) == 0.1
