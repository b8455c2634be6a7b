import dataclasses
import io
import json

import pytest
import torch

from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.host_work import HostWork
from loratory.objectives.qlora.trial.progress import Progress, measurement_of
from loratory.spaces.errors import LoratoryError
from loratory.spaces.metric_names import Direction


def state(run, value):
    """What a slot would hold, all of one value."""
    matrices = {name: torch.full_like(matrix, value) for name, matrix in run.adapter.state.items()}
    moments = {"exp_avg": matrices, "exp_avg_sq": matrices, "step": torch.tensor(3.0)}
    return HostWork(beside=False).begin(lambda: SlotState(matrices=matrices, moments=moments, scaler={}))


def update(run, data, count=1):
    for _ in range(count):
        batch = run.next_batch(data.train)
        batch.take(range(len(batch.lengths)), slot=0, loss_scale=1.0)
        run.count_update()


def measure(run, loss, *, direction=Direction.MINIMIZE, value=1.0):
    run.take_snapshot(state(run, value), checkpoint=True)
    better = run.keep_measurement({"loss": loss}, metric="loss", direction=direction)
    run.snapshot.progress.reported += 1
    checkpoint, run.snapshot = run.checkpoint(), None
    return better, checkpoint


def test_batches_follow_the_plan_and_count(make_run, data):
    run = make_run(batch_size=5, epochs=1.0)
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
    run.slot, seen = 0, []
    for step in range(1, 7):
        update(run, data)
        seen.append((run.trains, run.evaluation_due))
        if run.evaluation_due:
            run.take_snapshot(state(run, 0.0), checkpoint=False)
            assert not run.evaluation_due and run.trains is (step < 6)
    assert seen == [(True, False), (False, True)] * 3
    assert run.trained_out


def test_several_points_at_one_update_are_measured_once(make_run, data):
    run = make_run(epochs=0.5, evaluations=5)
    update(run, data)
    run.take_snapshot(state(run, 0.0), checkpoint=False)
    assert (run.snapshot.progress.reported, run.progress.reported) == (0, 2)
    snapshot = run.snapshot.progress
    snapshot.metrics = {"loss": 1.0}
    points = [measurement_of(snapshot) for _ in range(2)]
    assert [(p.step, p.optimizer_steps, p.examples_seen) for p in points] == [(1, 1, 8), (2, 1, 8)]
    assert all(point.metrics == {"loss": 1.0} for point in points)
    update(run, data)
    assert run.evaluation_due and run.trained_out


@pytest.mark.parametrize(
    ("direction", "losses", "better"),
    [
        (Direction.MINIMIZE, (3.0, 2.0, 2.0), [True, True, False]),
        (Direction.MAXIMIZE, (3.0, 2.0, 4.0), [True, False, True]),
    ],
)
def test_best_is_the_first_of_the_best(make_run, data, direction, losses, better):
    run, found = make_run(), []
    for number, loss in enumerate(losses):
        update(run, data, 2)
        found.append(measure(run, loss, direction=direction, value=float(number))[0])
    best = max(place for place, is_better in enumerate(better) if is_better)
    assert found == better
    assert (run.progress.best_step, run.progress.best_value) == (best + 1, losses[best])
    assert run.progress.stalled == 2 - best
    assert all((matrix == best).all() for matrix in run.best.values())


def test_what_was_made_since_the_snapshot_is_in_no_checkpoint(make_run, data):
    run = make_run()
    update(run, data, 2)
    run.take_snapshot(state(run, 5.0), checkpoint=True)
    update(run, data)
    run.keep_measurement({"loss": 2.0}, metric="loss", direction=Direction.MINIMIZE)
    assert run.snapshot.progress.metrics == {"loss": 2.0} and run.progress.metrics is None
    restored = make_run(checkpoint=run.checkpoint())
    assert (restored.progress.optimizer_steps, restored.progress.reported) == (2, 0)
    assert (run.progress.optimizer_steps, run.progress.reported) == (3, 1)


def test_checkpoint_brings_back_all_of_the_snapshot(make_run, data):
    run = make_run()
    update(run, data, 2)
    measure(run, 2.0, value=1.0)
    update(run, data, 2)
    _, checkpoint = measure(run, 3.0, value=2.0)
    restored = make_run(checkpoint=checkpoint, attempt=2)
    expected = dataclasses.replace(run.progress, metrics={"loss": 3.0})
    assert restored.progress == expected and restored.progress.stalled == 1
    assert isinstance(restored.progress, Progress)
    for got, wanted in (
        (restored.best, 1.0),
        (restored.state.matrices, 2.0),
        (restored.state.moments["exp_avg_sq"], 2.0),
    ):
        assert got.keys() == run.adapter.state.keys()
        assert all((matrix == wanted).all() for matrix in got.values())
    assert float(restored.state.moments["step"]) == 3
    assert restored.slot is None and not restored.points


def test_it_is_over_when_trained_out_and_measured_or_no_better_for_too_long(make_run, data):
    run = make_run()
    update(run, data, 6)
    assert run.trained_out and run.why_over(patience=None) is None  # its last evaluation is still due
    for loss in (1.0, 2.0, 2.0):
        assert run.why_over(patience=2) is None
        run.take_snapshot(state(run, 0.0), checkpoint=False)
        run.keep_measurement({"loss": loss}, metric="loss", direction=Direction.MINIMIZE)
        run.progress.reported = 0
    assert run.why_over(patience=3) is None
    assert run.why_over(patience=2) == "early stopping: no better since evaluation 1"
    run.progress.reported = 3
    assert run.why_over(patience=2) == run.why_over(patience=None) == "trained to the end"


@pytest.mark.parametrize("changes", [{"seed": 8}, {"learning_rate": 0.5}, {"rank": 2}])
def test_checkpoint_of_another_trial_is_refused(make_run, data, changes):
    run = make_run()
    update(run, data, 2)
    _, checkpoint = measure(run, 2.0)
    with pytest.raises(LoratoryError, match="checkpoint must be of trial 0"):
        make_run(checkpoint=checkpoint, **changes)


def test_equal_matrices_are_saved_once(make_run, data):
    run = make_run()
    update(run, data, 2)
    _, first = measure(run, 2.0)
    update(run, data, 2)
    _, second = measure(run, 3.0)
    matrices = sum(matrix.nbytes for matrix in run.adapter.state.values())
    assert len(second) - len(first) > 0.9 * matrices


def test_a_checkpoint_of_version_0_1_0_is_read_by_its_number(make_run, data):
    run = make_run(batch_size=5)
    update(run, data)
    _, checkpoint = measure(run, 3.0)
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    training = json.loads(content["trial"]["training"])
    del training["weight_decay"]  # as if it had come later: its default is what was trained with
    numbered = {"number": 0, "seed": content["trial"]["seed"], "training": json.dumps(training)}
    assert (
        make_run(batch_size=5, checkpoint=saved(content | {"trial": numbered})).progress.optimizer_steps == 1
    )
    for other in ({"number": 1}, {"seed": 99}, {"training": json.dumps(training | {"rank": 2})}):
        with pytest.raises(LoratoryError, match="checkpoint must be of trial 0000"):
            make_run(batch_size=5, checkpoint=saved(content | {"trial": numbered | other}))


def saved(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
