import dataclasses
import io

import pytest
import torch

from loratory.objectives.futures import completed
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.trial.phases import (
    DivergedError,
    Ending,
    Finishing,
    Judging,
    Over,
    PhaseError,
    Training,
    Waiting,
)
from loratory.objectives.qlora.trial.progress import Progress
from loratory.objectives.stopping import Evaluated, Patience
from loratory.spaces.errors import LoratoryError
from loratory.spaces.metric_names import Direction

WRONG = DivergedError("the training loss is nan")


def state(run, value):
    """Return the state of a slot in which all numbers have one value."""
    matrices = {name: torch.full(matrix.shape, value) for name, matrix in run.adapter.state.items()}
    moments = {"exp_avg": matrices, "exp_avg_sq": matrices, "step": torch.tensor(3.0)}
    return completed(lambda: SlotState(matrices=matrices, moments=moments, scaler={}))


def update(run, data, count=1):
    for _ in range(count):
        batch = run.next_batch(data.train)
        batch.take(range(len(batch.lengths)), slot=0, loss_scale=1.0)
        run.count_update()


def to_grid(run, data):
    """Train up to the next point of the grid."""
    while not run.evaluation_due:
        update(run, data)


def measure(run, loss, *, value=1.0):
    """Measure a trial that stands at a point of the grid; whether it is the best yet, and its checkpoint."""
    before = run.best_evaluation
    run.begin_measurement(state(run, value), checkpoint=True)
    run.measured({"loss": loss})
    better = run.best_evaluation != before
    while run.next_grid_point() is not None:
        checkpoint = run.checkpoint()
    run.decide()
    return better, checkpoint


@pytest.fixture
def make_training(make_run):
    """A function: a trial that holds a slot."""

    def make(**changes):
        run = make_run(**changes)
        run.enter(0)
        return run

    return make


def test_batches_follow_the_plan_and_count(make_training, data):
    run = make_training(batch_size=5, epochs=1.0)
    batch = run.next_batch(data.train)
    assert run.next_batch(data.train) is batch
    assert batch.examples == [data.train[index] for index in run.plan.batch(0)]
    update(run, data, run.plan.optimizer_steps)
    progress = run.progress
    assert run.trained_out and run.batch is None
    assert (progress.optimizer_steps, progress.examples_seen) == (5, 24)
    assert progress.tokens_seen == sum(map(len, data.train))


def test_a_trial_trains_in_a_slot_until_the_grid_measures_it(make_run, data):
    run = make_run()
    assert not run.trains
    run.enter(0)
    seen = []
    for step in range(1, 7):
        update(run, data)
        seen.append((run.trains, run.evaluation_due))
        if run.evaluation_due:
            run.begin_measurement(state(run, 0.0), checkpoint=False)
            assert not run.evaluation_due and run.trains is (step < 6)
            run.measured({"loss": 1.0})
            while run.next_grid_point() is not None:
                assert run.measuring is not None
            run.decide()
    assert seen == [(True, False), (False, True)] * 3
    assert run.trained_out


def test_several_points_at_one_update_are_measured_once(make_training, data):
    run = make_training(epochs=0.5, evaluations=5)
    update(run, data)
    run.begin_measurement(state(run, 0.0), checkpoint=False)
    assert (run.measuring.progress.reported, run.progress.reported) == (0, 2)
    run.measured({"loss": 1.0})
    points = [run.next_grid_point() for _ in range(2)]
    assert run.next_grid_point() is None
    assert [(p.step, p.optimizer_steps, p.examples_seen) for p in points] == [(1, 1, 8), (2, 1, 8)]
    assert all(point.metrics == {"loss": 1.0} for point in points)
    run.decide()
    update(run, data)
    assert run.evaluation_due and run.trained_out


@pytest.mark.parametrize(
    ("direction", "losses", "better"),
    [
        (Direction.MINIMIZE, (3.0, 2.0, 2.0), [True, True, False]),
        (Direction.MAXIMIZE, (3.0, 2.0, 4.0), [True, False, True]),
    ],
)
def test_best_is_the_first_of_the_best(make_training, data, direction, losses, better):
    run, found = make_training(direction=direction), []
    for number, loss in enumerate(losses):
        to_grid(run, data)
        found.append(measure(run, loss, value=float(number))[0])
    best = max(place for place, is_better in enumerate(better) if is_better)
    assert found == better
    assert run.best_evaluation == (best + 1, losses[best])
    assert run.phase == Ending("trained to the end", run.best)
    assert all((matrix == best).all() for matrix in run.best.values())


def test_what_was_made_since_the_snapshot_is_in_no_checkpoint(make_training, make_run, data):
    run = make_training()
    update(run, data, 2)
    run.begin_measurement(state(run, 5.0), checkpoint=True)
    update(run, data)
    run.measured({"loss": 2.0})
    assert run.measuring.progress.metrics == {"loss": 2.0} and run.progress.metrics is None
    restored = make_run(checkpoint=run.checkpoint())
    assert (restored.progress.optimizer_steps, restored.progress.reported) == (2, 0)
    assert (run.progress.optimizer_steps, run.progress.reported) == (3, 1)


def test_checkpoint_brings_back_all_of_the_snapshot(make_training, make_run, data):
    run = make_training()
    update(run, data, 2)
    measure(run, 2.0, value=1.0)
    update(run, data, 2)
    _, checkpoint = measure(run, 3.0, value=2.0)
    restored = make_run(checkpoint=checkpoint, attempt=2)
    expected = dataclasses.replace(run.progress, metrics={"loss": 3.0})
    assert restored.progress == expected
    assert restored.progress.history == (Evaluated(1, 2.0), Evaluated(2, 3.0))
    assert isinstance(restored.progress, Progress) and isinstance(restored.phase, Waiting)
    for got, wanted in (
        (restored.best, 1.0),
        (restored.phase.state.matrices, 2.0),
        (restored.phase.state.moments["exp_avg_sq"], 2.0),
    ):
        assert got.keys() == run.adapter.state.keys()
        assert all((matrix == wanted).all() for matrix in got.values())
    assert float(restored.phase.state.moments["step"]) == 3
    assert not restored.points


def as_version_3(checkpoint):
    """The checkpoint as loratory 0.1 wrote it."""
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    history = content["progress"].pop("history")
    best = min(history, key=lambda evaluated: evaluated[1])
    stalled = len(history) - 1 - history.index(best)
    identity = content["trial"]
    content["trial"] = {"number": int(identity.pop("key")), **identity}
    content["progress"] |= {"best_step": best[0], "best_value": best[1], "stalled": stalled}
    buffer = io.BytesIO()
    torch.save(content | {"version": 3}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("patience", [2, 3])
def test_a_checkpoint_of_version_3_goes_on_with_its_best_and_its_patience(
    make_training, make_run, data, patience
):
    run, rule = make_training(evaluations=6), Patience(patience)
    for loss in (1.0, 2.0, 3.0):
        to_grid(run, data)
        _, checkpoint = measure(run, loss)
    restored = make_run(checkpoint=as_version_3(checkpoint), evaluations=6, rule=rule)
    assert restored.best_evaluation == (1, 1.0)
    if patience == 2:
        assert restored.phase.reason == "early stopping: no better since evaluation 1"
    else:
        assert isinstance(restored.phase, Waiting)


def test_it_is_over_when_trained_out_and_measured_or_no_better_for_too_long(make_training, data):
    for rule, reason in (
        (Patience(3), "trained to the end"),
        (Patience(2), "trained to the end"),
        (Patience(1), "early stopping: no better since evaluation 1"),
    ):
        run = make_training(rule=rule)
        for loss in (1.0, 2.0, 2.0):
            if isinstance(run.phase, Ending):
                break
            to_grid(run, data)
            measure(run, loss)
        assert run.phase == Ending(reason, run.best)


@pytest.mark.parametrize("changes", [{"seed": 8}, {"learning_rate": 0.5}, {"rank": 2}])
def test_checkpoint_of_another_trial_is_refused(make_training, make_run, data, changes):
    run = make_training()
    update(run, data, 2)
    _, checkpoint = measure(run, 2.0)
    with pytest.raises(LoratoryError, match="checkpoint must be of trial 0000"):
        make_run(checkpoint=checkpoint, **changes)


def test_equal_matrices_are_saved_once(make_training, data):
    run = make_training()
    update(run, data, 2)
    _, first = measure(run, 2.0)
    update(run, data, 2)
    _, second = measure(run, 3.0)
    matrices = sum(matrix.numel() * 4 for matrix in run.adapter.state.values())
    assert len(second) - len(first) > 0.9 * matrices


def test_a_trial_whose_checkpoint_was_its_last_needs_no_slot(make_training, make_run, data):
    run = make_training()
    for loss in (3.0, 2.0, 1.0):
        to_grid(run, data)
        _, checkpoint = measure(run, loss)
    restored = make_run(checkpoint=checkpoint, attempt=2)
    assert isinstance(restored.phase, Ending) and restored.phase.reason == "trained to the end"


def test_the_last_update_gives_the_slot_back_before_it_is_measured(make_training, data):
    run = make_training(evaluations=1)
    to_grid(run, data)
    assert isinstance(run.phase, Training)
    run.begin_measurement(state(run, 0.0), checkpoint=False)
    assert run.phase == Judging(None)


def test_a_divergence_counts_only_where_no_earlier_measurement_ends_the_trial(make_training, data):
    run = make_training(rule=Patience(1))
    to_grid(run, data)
    assert run.diverge(WRONG)  # nothing is being measured: it fails now
    for losses, phase in (((1.0, 2.0), Ending), ((2.0, 1.0), Judging)):
        run = make_training(rule=Patience(1))
        to_grid(run, data)
        measure(run, losses[0])
        to_grid(run, data)
        run.begin_measurement(state(run, 0.0), checkpoint=False)
        update(run, data)
        assert not run.diverge(WRONG) and run.phase == Judging(WRONG)
        run.measured({"loss": losses[1]})
        assert run.next_grid_point() is not None and run.next_grid_point() is None
        if phase is Ending:
            run.decide()
            assert run.phase.reason == "early stopping: no better since evaluation 1"
            assert not run.diverge(WRONG)
        else:
            with pytest.raises(DivergedError, match="the training loss is nan"):
                run.decide()


@pytest.mark.parametrize(
    "move",
    [
        lambda run, data: run.enter(1),
        lambda run, data: run.count_update(),
        lambda run, data: run.begin_measurement(state(run, 0.0), checkpoint=False),
        lambda run, data: run.measured({"loss": 1.0}),
        lambda run, data: run.next_grid_point(),
        lambda run, data: run.decide(),
        lambda run, data: run.checkpoint(),
        lambda run, data: run.hand_over(completed(dict)),
    ],
)
def test_moves_are_errors_in_other_phases(make_training, data, move):
    run = make_training()
    with pytest.raises(PhaseError, match="trial 0"):
        move(run, data)
    assert run.phase == Training(0) and run.measuring is None


def test_a_trial_ends_once(make_training):
    run = make_training()
    run.close()
    assert run.phase == Over()
    for move in (run.close, lambda: run.suspend(None), lambda: run.next_batch(())):
        with pytest.raises(PhaseError, match="trial 0"):
            move()


def test_files_come_with_the_last_scoring(make_training, data):
    run = make_training(evaluations=1)
    to_grid(run, data)
    measure(run, 1.0)
    files = completed(dict)
    run.hand_over(files)
    assert run.phase == Finishing("trained to the end", files)
