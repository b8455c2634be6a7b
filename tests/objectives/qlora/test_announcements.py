from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loratory.objectives.futures import completed
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.announcements import Announcements, failed_event
from loratory.objectives.qlora.scoring.evaluation import score_answers, text_job
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.phases import DivergedError
from loratory.objectives.records import CurvePoint, FailureKind

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
    run.enter(0)
    while not run.evaluation_due:
        run.next_batch(data.train).take(range(8), slot=0, loss_scale=1.0)
        run.count_update()
    matrices = {name: torch.ones(matrix.shape) for name, matrix in run.adapter.state.items()}
    run.begin_measurement(completed(lambda: SlotState(matrices=matrices)), checkpoint=checkpoint)
    run.measured({"loss": 2.0})
    return run


def test_each_point_of_the_curve_is_sent_once(announcements, make_run):
    run = make_run()
    assert list(announcements.curve(run)) == []
    point = CurvePoint(optimizer_step=1, loss=2.0, learning_rate=0.1, grad_norm=1.0, tokens_seen=9)
    run.add_point(point)
    (sent,) = announcements.curve(run)
    assert (sent.key, sent.attempt, sent.points) == ("0000", 1, (point,))
    assert list(announcements.curve(run)) == [] and run.seconds_since_points < 60


def test_every_point_that_a_snapshot_measures_brings_a_checkpoint_of_its_own(announcements, make_run, data):
    changes = {"epochs": 0.5, "evaluations": 5}
    run = measured_run(make_run, data, checkpoint=True, **changes)
    run.share_pass(2)
    run.spend(7.0, peak_memory_bytes=0)  # scoring took its time after the snapshot
    events = list(announcements.measured(run))
    run.decide()
    assert [event.measurement.step for event in events] == [1, 2] and run.measuring is None
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
    run = measured_run(make_run, data, checkpoint=False, evaluations=1)
    list(announcements.measured(run))
    run.decide()
    count = len(data.select)
    answers = ["red"] * count
    texts = text_job(make_study(evaluation={"metrics": ["exact_match"]}), data.select, answers, ())()
    evaluation = score_answers(data.select, loss_sums=np.ones(count), answers=answers, texts=texts)
    run.hand_over(completed(announcements.making_files(run)))
    finished = announcements.finished(run, evaluation)
    assert finished.adapter == run.adapter.files(run.best, base_name="someone/model", revision="abc")
    reason = "trained to the end"
    assert (finished.reason, finished.best_step, finished.scores) == (reason, 1, evaluation.scores)
    assert finished.predictions == evaluation.predictions and len(finished.predictions) == count


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DivergedError("the training loss is nan"), FailureKind.DIVERGED, "the training loss is nan"),
        (torch.OutOfMemoryError("too much"), FailureKind.OOM, "too much"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when"), FailureKind.OOM, "CUBLAS_STATUS_ALLOC_FAILED when"),
        (KeyError("q\n  proj"), FailureKind.CRASHED, "KeyError: 'q\\n proj'"),
    ],
)
def test_an_exception_says_how_its_attempt_ended(make_study, make_trial, error, kind, message):
    trial = make_trial(make_study(), 3, attempt=2)
    event = failed_event(trial, error)
    assert (event.key, event.attempt, event.kind) == ("0003", 2, kind)
    assert event.message.split() == message.split()
    assert type(error).__name__ in event.traceback
