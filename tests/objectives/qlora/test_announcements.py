from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.announcements import Announcements
from loratory.objectives.qlora.host_work import HostWork
from loratory.objectives.qlora.scoring.evaluation import score_answers, text_job
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.records import CurvePoint
from loratory.spaces.metric_names import Direction

BASE = SimpleNamespace(device=torch.device("cpu"), published_name="someone/model", revision="abc")


@pytest.fixture
def clock():
    return CheckpointClock()


@pytest.fixture
def announcements(clock):
    return Announcements(BASE, clock)


def measured_run(make_run, data, *, checkpoint, **changes):
    """A trial whose snapshot was measured."""
    run = make_run(**changes)
    run.next_batch(data.train).take(range(8), slot=0, loss_scale=1.0)
    run.count_update()
    state = HostWork(beside=False).begin(lambda: SlotState(matrices=run.adapter.state))
    run.take_snapshot(state, checkpoint=checkpoint)
    run.keep_measurement({"loss": 2.0}, metric="loss", direction=Direction.MINIMIZE)
    return run


def test_each_point_of_the_curve_is_sent_once(announcements, make_run):
    run = make_run()
    assert announcements.curve(run) == []
    point = CurvePoint(optimizer_step=1, loss=2.0, learning_rate=0.1, grad_norm=1.0, tokens_seen=9)
    run.points.append(point)
    (sent,) = announcements.curve(run)
    assert (sent.key, sent.attempt, sent.points) == ("0000", 1, (point,))
    assert announcements.curve(run) == [] and run.points_sent > 0


def test_every_point_that_a_snapshot_measures_brings_a_checkpoint_of_its_own(announcements, make_run, data):
    changes = {"epochs": 0.5, "evaluations": 5}
    run = measured_run(make_run, data, checkpoint=True, **changes)
    run.progress.pack_size = 2
    run.progress.device_seconds = 7.0  # scoring took its time after the snapshot
    events = announcements.measured(run)
    assert [event.measurement.step for event in events] == [1, 2] and run.snapshot is None
    for event in events:
        assert (event.resources.pack_size, event.resources.gpu_seconds_attributed) == (2, 7.0)
        restored = make_run(checkpoint=event.checkpoint, **changes)
        assert restored.progress.reported == event.measurement.step
        assert restored.progress.device_seconds == 7.0


@pytest.mark.parametrize("checkpoint", [True, False])
def test_the_clock_learns_what_a_checkpoint_costs(announcements, clock, make_run, data, checkpoint):
    assert clock.begin()
    run = measured_run(make_run, data, checkpoint=checkpoint, epochs=0.5, evaluations=2)
    (event,) = announcements.measured(run)
    assert (event.checkpoint is not None) is (clock._cost is not None) is checkpoint


def test_a_finished_trial_names_its_base_and_gives_its_best_matrices(
    announcements, make_run, make_study, data
):
    run = measured_run(make_run, data, checkpoint=False)
    run.reason = "trained to the end"
    count = len(data.select)
    answers = ["red"] * count
    texts = text_job(make_study(evaluation={"metrics": ["exact_match"]}), data.select, answers, ())()
    evaluation = score_answers(data.select, loss_sums=np.ones(count), answers=answers, texts=texts)
    run.files = HostWork(beside=False).begin(announcements.making_files(run))
    finished = announcements.finished(run, evaluation)
    assert finished.adapter == run.adapter.files(run.best, base_name="someone/model", revision="abc")
    assert (finished.reason, finished.best_step, finished.scores) == (run.reason, 1, evaluation.scores)
    assert finished.predictions == evaluation.predictions and len(finished.predictions) == count
