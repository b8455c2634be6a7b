import math
from dataclasses import replace

import pytest
import torch

from loratory.objectives.data.examples import Examples
from loratory.objectives.events import (
    Failed,
    Finished,
    Progressed,
    Ready,
    Reported,
    Score,
    Scored,
    Split,
    Start,
    Started,
    Stop,
    Stopped,
    Worked,
)
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.records import FailureKind
from loratory.spaces.trial import trial_key


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def curve(events):
    return [point for event in of(Progressed, events) for point in event.points]


def losses(events):
    return [point.loss for point in curve(events)]


def dev_losses(events):
    return [event.measurement.metrics["loss"] for event in of(Reported, events)]


def score(objective, **asked):
    """Have something scored; a piece of it is done in each call."""
    events = objective.advance([Score(**asked)])
    while not (scored := of(Scored, events)):
        events = objective.advance([])
    return scored[0]


def poison_scores(monkeypatch):
    real = PackedModel.losses

    def poisoned(self, inputs):
        loss, losses = real(self, inputs)
        return loss, losses if torch.is_grad_enabled() else losses * float("nan")

    monkeypatch.setattr(PackedModel, "losses", poisoned)


@pytest.fixture(scope="module", autouse=True)
def a_checkpoint_at_every_evaluation():
    """On a busy machine some would be left out, since their cost is measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loratory.objectives.qlora.trial.checkpointing._CHEAP_SECONDS", float("inf"))
        yield


@pytest.fixture(scope="module")
def study(make_study):
    return make_study()


@pytest.fixture(scope="module")
def objective(study, make_objective):
    return make_objective(study)


@pytest.fixture(scope="module")
def whole_run(objective, study, make_trial, drive):
    """One undisturbed trial of 6 steps and 3 evaluations."""
    return drive(objective, make_trial(study))


def test_first_events_announce_worker_and_do_so_once(study, make_objective):
    objective = make_objective(study)
    (ready,) = objective.advance([])
    assert isinstance(ready, Ready)
    on_gpu = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    assert ready.compute_dtype == (on_gpu if torch.cuda.is_available() else "float32")
    assert {"torch", "transformers", "peft", "bitsandbytes"} <= set(ready.versions)
    assert len(ready.hashes["base"]) == 64
    assert objective.advance([]) == []


def test_trial_reports_every_grid_point_once_and_in_order(whole_run):
    kinds = [type(event) for event in whole_run if not isinstance(event, Ready | Progressed)]
    assert kinds == [Started, Reported, Reported, Reported, Finished]
    assert of(Started, whole_run)[0].optimizer_steps == 6
    measured = [event.measurement for event in of(Reported, whole_run)]
    assert [(m.step, m.optimizer_steps, m.examples_seen) for m in measured] == [
        (1, 2, 16),
        (2, 4, 32),
        (3, 6, 48),
    ]
    assert [point.optimizer_step for point in curve(whole_run)] == [1, 2, 3, 4, 5, 6]


def test_curve_is_sent_before_the_report_it_leads_to(whole_run):
    seen = 0
    for event in whole_run:
        if isinstance(event, Progressed):
            seen = event.points[-1].optimizer_step
        if isinstance(event, Reported):
            assert seen == event.measurement.optimizer_steps


def test_tokens_and_resources_add_up(whole_run, data):
    per_epoch = sum(map(len, data.train))
    last, finished = of(Reported, whole_run)[-1], of(Finished, whole_run)[0]
    assert last.measurement.tokens_seen == 2 * per_epoch == curve(whole_run)[-1].tokens_seen
    assert last.measurement.elapsed_seconds > 0
    assert 0 < last.resources.gpu_seconds_attributed < finished.resources.gpu_seconds_attributed
    assert finished.resources.peak_memory_bytes_pack > 0
    assert finished.resources.device


def test_training_lowers_the_loss(whole_run):
    assert losses(whole_run)[-1] < 0.9 * losses(whole_run)[0]


def test_finished_trial_is_scored_on_select_in_its_fixed_order(whole_run, data):
    finished = of(Finished, whole_run)[0]
    assert finished.scores.example_ids == tuple(example.example_id for example in data.select)
    assert finished.scores.groups == tuple(example.group for example in data.select)
    total = finished.scores.statistics["loss"].sum(axis=0)
    assert finished.scores.aggregate["loss"] == pytest.approx(total[0] / total[1])


def test_same_seed_gives_same_curve_and_another_seed_another(objective, study, make_trial, drive, whole_run):
    again = drive(objective, make_trial(study, number=1))
    other = drive(objective, make_trial(study, number=2, seed=8))
    assert losses(again) == losses(whole_run)
    assert dev_losses(again) == dev_losses(whole_run)
    assert of(Finished, again)[0].adapter == of(Finished, whole_run)[0].adapter
    assert losses(other)[0] != losses(whole_run)[0]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_resumed_trial_goes_on_exactly(objective, study, make_trial, drive, whole_run, step, make_objective):
    report = of(Reported, whole_run)[step - 1]
    fresh = make_objective(study)
    resumed = drive(fresh, make_trial(study, attempt=2), checkpoint=report.checkpoint)
    assert losses(resumed) == losses(whole_run)[report.measurement.optimizer_steps :]
    assert dev_losses(resumed) == dev_losses(whole_run)[step:]
    first, second = of(Finished, whole_run)[0], of(Finished, resumed)[0]
    assert (second.adapter, second.best_step) == (first.adapter, first.best_step)
    assert second.resources.gpu_seconds_attributed > report.resources.gpu_seconds_attributed


def test_checkpoint_of_another_trial_is_refused(objective, study, make_trial, drive, whole_run):
    checkpoint = of(Reported, whole_run)[0].checkpoint
    events = drive(objective, make_trial(study, seed=99), checkpoint=checkpoint)
    (failed,) = [event for event in events if not isinstance(event, Worked)]
    assert isinstance(failed, Failed) and "checkpoint" in failed.message


def test_more_evaluations_than_steps_report_each_point(make_study, make_objective, make_trial, drive):
    study = make_study(training={"epochs": 0.5}, evaluation={"evaluations": 5}, early_stopping_patience=2)
    events = drive(make_objective(study), make_trial(study))
    measured = [event.measurement for event in of(Reported, events)]
    assert [m.step for m in measured] == [1, 2, 3, 4, 5]
    assert [m.optimizer_steps for m in measured] == [1, 1, 2, 2, 2]
    assert measured[2].metrics == measured[3].metrics == measured[4].metrics


def test_resume_between_points_measured_at_one_step(make_study, make_objective, make_trial, drive):
    study = make_study(training={"epochs": 0.5}, evaluation={"evaluations": 5})
    objective = make_objective(study)
    whole = drive(objective, make_trial(study))
    report = of(Reported, whole)[2]
    resumed = drive(objective, make_trial(study, attempt=2), checkpoint=report.checkpoint)
    assert [event.measurement.step for event in of(Reported, resumed)] == [4, 5]
    assert dev_losses(resumed) == dev_losses(whole)[3:]


def test_stop_frees_the_slot_for_the_next_trial(objective, study, make_trial, drive, whole_run):
    drive(objective, make_trial(study), until=lambda event: isinstance(event, Reported))
    events = objective.advance(
        [Stop(key="0000", attempt=1, reason="pruned"), Start(trial=make_trial(study, number=5))]
    )
    assert [type(event) for event in events[:2]] == [Stopped, Started]
    while not of(Finished, events):
        events += objective.advance([])
    assert losses(events) == losses(whole_run)


def test_stop_of_a_trial_that_is_gone_is_answered(objective):
    events = objective.advance([Stop(key="0077", attempt=1, reason="late")])
    assert [event for event in events if not isinstance(event, Worked)] == [Stopped(key="0077", attempt=1)]


def test_start_without_a_free_slot_breaks_the_contract(objective, study, make_trial):
    objective.advance([Start(trial=make_trial(study))])
    with pytest.raises(Exception, match="free slot"):
        objective.advance([Start(trial=make_trial(study, number=1))])
    objective.advance([Stop(key="0000", attempt=1, reason="end of test")])


def test_scoring_in_the_middle_of_a_trial_leaves_it_alone(objective, study, make_trial, whole_run):
    adapter = of(Finished, whole_run)[0].adapter
    events = objective.advance([Start(trial=make_trial(study))])
    events += objective.advance(
        [Score(key="base", split=Split.SELECT), Score(key="tuned", split=Split.SELECT, adapter=adapter)]
    )
    while not of(Finished, events):
        events += objective.advance([])
    base, tuned = of(Scored, events)
    assert (base.key, tuned.key) == ("base", "tuned")
    assert tuned.scores.aggregate == of(Finished, whole_run)[0].scores.aggregate
    assert base.scores.aggregate["loss"] > tuned.scores.aggregate["loss"]
    assert losses(events) == losses(whole_run)


def test_untuned_base_scores_the_same_before_and_after_training(study, make_objective, make_trial, drive):
    objective = make_objective(study)
    before = score(objective, key="base", split=Split.TEST)
    drive(objective, make_trial(study))
    after = score(objective, key="base", split=Split.TEST)
    assert before.scores.aggregate == after.scores.aggregate


def test_base_is_unchanged_to_the_bit(study, make_objective, make_trial, drive):
    objective = make_objective(study)

    def weights():
        layers = objective._engine._model._packed
        matrices = {name: layer.frozen.read() for name, layer in layers.items()}
        held = {f"{name}, held": layer.frozen.held.clone() for name, layer in layers.items()}
        rest = {name: tensor.clone() for name, tensor in objective._engine._base.model.state_dict().items()}
        return matrices | held | rest

    before = weights()
    drive(objective, make_trial(study))
    after = weights()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any("lora_" in name for name in objective._engine._base.model.state_dict())


@pytest.fixture(scope="module")
def contrary(data, tokenizer):
    """Splits whose dev answers have no token of the answers in train: the loss on dev soon rises."""
    answer = tuple(tokenizer("QZXJVKWUQZ")["input_ids"])
    return replace(data, dev=Examples.of(replace(example, answer_ids=answer) for example in data.dev))


def test_best_adapter_is_kept_and_not_the_last(contrary, make_study, make_objective, make_trial, drive):
    study = make_study(training={"epochs": 4.0, "learning_rate": 3e-2}, evaluation={"evaluations": 6})
    objective = make_objective(study, contrary)
    events = drive(objective, make_trial(study))
    measured = dev_losses(events)
    best = measured.index(min(measured))
    finished = of(Finished, events)[0]
    assert best < len(measured) - 1, measured
    assert finished.best_step == best + 1
    scored = score(objective, key="x", split=Split.DEV, adapter=finished.adapter)
    assert scored.scores.aggregate["loss"] == measured[best]


def test_early_stopping_acts(contrary, make_study, make_objective, make_trial, drive):
    study = make_study(
        training={"epochs": 6.0, "learning_rate": 3e-2},
        evaluation={"evaluations": 9},
        early_stopping_patience=2,
    )
    events = drive(make_objective(study, contrary), make_trial(study))
    finished, measured = of(Finished, events)[0], dev_losses(events)
    assert finished.reason == f"early stopping: no better since evaluation {finished.best_step}"
    assert len(measured) == finished.best_step + 2 < 9
    assert min(measured) == measured[finished.best_step - 1]


def test_divergence_is_reported_and_leaves_the_next_trial_alone(
    objective, study, make_trial, drive, whole_run, monkeypatch
):
    real = PackedModel.losses
    calls = iter(range(10**6))

    def poisoned(self, inputs):
        loss, losses = real(self, inputs)
        poison = torch.is_grad_enabled() and next(calls) == 2
        return (loss, losses * float("inf")) if poison else (loss, losses)

    monkeypatch.setattr(PackedModel, "losses", poisoned)
    events = drive(objective, make_trial(study))
    monkeypatch.undo()
    assert isinstance(events[-1], Failed)
    assert events[-1].kind is FailureKind.DIVERGED
    assert "optimiser step 3" in events[-1].message
    assert losses(drive(objective, make_trial(study, number=1))) == losses(whole_run)


def test_metric_that_is_no_number_is_divergence(objective, study, make_trial, drive, monkeypatch):
    poison_scores(monkeypatch)
    events = drive(objective, make_trial(study))
    assert events[-1].kind is FailureKind.DIVERGED
    assert "eval.dev" in events[-1].message


def test_crash_inside_a_trial_is_its_own(objective, study, make_trial, drive, whole_run, monkeypatch):
    def broken(self, inputs):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(PackedModel, "losses", broken)
    events = drive(objective, make_trial(study))
    monkeypatch.undo()
    assert (events[-1].kind, events[-1].message) == (
        FailureKind.CRASHED,
        "RuntimeError: first line second line",
    )
    assert "broken" in events[-1].traceback
    assert losses(drive(objective, make_trial(study, number=1))) == losses(whole_run)


def test_memory_that_runs_out_halves_the_passes_first(
    objective, study, make_trial, drive, whole_run, monkeypatch
):
    real = PackedModel.losses

    def tight(self, inputs):
        if inputs.shape.tokens > 150:
            raise torch.OutOfMemoryError("too much")
        return real(self, inputs)

    monkeypatch.setattr(PackedModel, "losses", tight)
    events = drive(objective, make_trial(study, dropout=0.0))
    monkeypatch.undo()
    undisturbed = drive(objective, make_trial(study, dropout=0.0))
    assert isinstance(events[-1], Finished)
    assert losses(events) == pytest.approx(losses(undisturbed), rel=1e-4)


def test_trial_cut_into_other_passes_after_a_resume_goes_on_alike(
    study, make_objective, make_trial, drive, monkeypatch
):
    real = PackedModel.losses

    def tight(self, inputs):
        if inputs.shape.tokens > 150:
            raise torch.OutOfMemoryError("too much")
        return real(self, inputs)

    monkeypatch.setattr(PackedModel, "losses", tight)
    whole = drive(make_objective(study), make_trial(study))
    monkeypatch.undo()
    report = of(Reported, whole)[0]
    # Memory suffices now. The passes are others, the dropout masks are not.
    resumed = drive(make_objective(study), make_trial(study, attempt=2), checkpoint=report.checkpoint)
    expected = losses(whole)[report.measurement.optimizer_steps :]
    assert losses(resumed) == pytest.approx(expected, rel=1e-5)


def test_slot_leaves_nothing_behind_however_often_it_is_used(study, make_objective, make_trial):
    objective = make_objective(study)
    model = objective._engine._base.model

    def held():
        modules = dict(model.named_modules())
        hooks = [
            len(getattr(module, kind))
            for module in modules.values()
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        ]
        return len(modules), len(list(model.parameters())), sum(hooks)

    after = []
    for number in range(10):
        objective.advance([Start(trial=make_trial(study, number=number))])
        objective.advance([])
        objective.advance([Stop(key=trial_key(number), attempt=1, reason="end of test")])
        after.append(held())
    assert len(set(after)) == 1, after


def test_scoring_that_gives_no_number_is_an_answer(objective, monkeypatch):
    poison_scores(monkeypatch)
    scored = score(objective, key="base", split=Split.SELECT)
    assert math.isnan(scored.scores.aggregate["loss"])


def test_memory_that_never_suffices_fails_the_trial(
    objective, study, make_trial, drive, whole_run, monkeypatch
):
    def tight(self, inputs):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(PackedModel, "losses", tight)
    events = drive(objective, make_trial(study))
    monkeypatch.undo()
    assert events[-1].kind is FailureKind.OOM
    again = losses(drive(objective, make_trial(study, number=1)))
    assert again == pytest.approx(losses(whole_run), rel=1e-5)
