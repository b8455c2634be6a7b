"""Several trials on one worker: each has the result of a run alone, whatever its neighbours do."""

import threading
from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest
import safetensors.torch
import torch

from loratory.objectives.data.examples import Examples
from loratory.objectives.events import (
    Failed,
    Finished,
    Noted,
    Progressed,
    Ready,
    Reported,
    Scored,
    Start,
    Started,
    Stop,
    Stopped,
    Worked,
)
from loratory.objectives.futures import SerialThread
from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.out_of_memory import NothingLeftError
from loratory.objectives.packing.pack import Pack
from loratory.objectives.qlora import engine
from loratory.objectives.qlora import objective as objective_module
from loratory.objectives.qlora.device_work import DevicePolicy
from loratory.objectives.qlora.relief import Need
from loratory.objectives.qlora.scoring import evaluator
from loratory.objectives.qlora.trial.arrivals import new_trial
from loratory.objectives.records import FailureKind
from loratory.spaces.errors import LoratoryError

SLOTS = 3
TRIALS = (
    {"batch_size": 8, "dropout": 0.3, "rank": 4},
    {"batch_size": 3, "rank": 8, "seed": 5, "epochs": 1.0, "weight_decay": 0.1},
    {"batch_size": 12, "rank": 2, "target_modules": ("q_proj", "up_proj"), "epochs": 3.0},
    {"batch_size": 5, "rank": 4, "learning_rate": 1e-3, "max_grad_norm": None},
    {"batch_size": 24, "rank": 1, "dropout": 0.5, "seed": 9},
    {"batch_size": 6, "rank": 8, "alpha": 4.0, "rank_stabilized": True, "warmup": 0.5},
)
SPACE = {"weight_decay": [0.0, 0.1], "rank": [1, 2, 4, 8]}


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def number_of(event):
    return None if isinstance(event, Ready | Scored | Noted | Worked) else int(event.key)


def curve(events):
    return [point for event in of(Progressed, events) for point in event.points]


def dev_losses(events):
    return [event.measurement.metrics["loss"] for event in of(Reported, events)]


def matrices(finished):
    return safetensors.torch.load(finished.adapter["adapter_model.safetensors"])


def assert_same_trial(got, wanted, *, curve_until=None):
    """Events of one trial that agree up to rounding in fp32."""
    mine, theirs = curve(got), curve(wanted)
    if curve_until is not None:
        mine, theirs = (points[:curve_until] for points in (mine, theirs))
    assert [p.optimizer_step for p in mine] == [p.optimizer_step for p in theirs]
    assert [p.loss for p in mine] == pytest.approx([p.loss for p in theirs], rel=1e-4)
    assert [p.grad_norm for p in mine] == pytest.approx([p.grad_norm for p in theirs], rel=1e-3)
    assert dev_losses(got) == pytest.approx(dev_losses(wanted), rel=1e-4)
    for first, second in zip(of(Reported, got), of(Reported, wanted), strict=True):
        first, second = first.measurement, second.measurement
        assert (first.step, first.optimizer_steps, first.examples_seen, first.tokens_seen) == (
            second.step,
            second.optimizer_steps,
            second.examples_seen,
            second.tokens_seen,
        )
    (first,), (second,) = of(Finished, got), of(Finished, wanted)
    assert (first.best_step, first.reason) == (second.best_step, second.reason)
    assert first.scores.aggregate == pytest.approx(second.scores.aggregate, rel=1e-4)
    mine, theirs = matrices(first), matrices(second)
    assert mine.keys() == theirs.keys()
    for name, matrix in theirs.items():
        assert (mine[name] - matrix).norm() <= 2e-3 * matrix.norm(), name
    assert first.adapter["adapter_config.json"] == second.adapter["adapter_config.json"]


class Driver:
    """Keeps an objective's slots full, as the real one does, and gathers each trial's events."""

    def __init__(self, objective, starts, *, decide=lambda event: None):
        self.objective, self.decide = objective, decide
        self.coming, self.active, self.order = deque(starts), set(), []

    def advance(self):
        decisions, self.decided = getattr(self, "decided", []), []
        while self.coming and len(self.active) < self.objective.capacity:
            start = self.coming.popleft()
            self.active.add(start.trial.number)
            decisions.append(start)
        events = self.objective.advance(decisions)
        self.order += events
        for event in events:
            if isinstance(event, Finished | Failed | Stopped):
                self.active.discard(number_of(event))
            elif (decision := self.decide(event)) is not None:
                self.decided.append(decision)

    def run(self):
        for _ in range(5000):
            self.advance()
            if not self.coming and not self.active:
                return self
        raise AssertionError("the trials did not end")

    def events(self, number):
        return [event for event in self.order if number_of(event) == number]


@pytest.fixture(scope="module")
def make_packed_objective(make_study, make_objective):
    def make(examples=None, *, slots=SLOTS, tokens=300, packing=None, **changes):
        packing = {"slots": slots, "tokens_per_pass": tokens} | (packing or {})
        return make_objective(make_study(space=SPACE, packing=packing, **changes), examples)

    return make


@pytest.fixture(scope="module")
def make_start(make_study, make_trial):
    study = make_study(space=SPACE)

    def make(number, *, attempt=1, checkpoint=None, **changes):
        options = TRIALS[number % len(TRIALS)] | changes
        return Start(trial=make_trial(study, number, attempt=attempt, **options), checkpoint=checkpoint)

    return make


@pytest.fixture(scope="module")
def alone(make_packed_objective, make_start):
    """A function: number of a trial to its events where it has the worker to itself."""
    objective, made = make_packed_objective(slots=1, tokens=2000), {}

    def events(number):
        if number not in made:
            assert objective.capacity == 1
            made[number] = Driver(objective, [make_start(number)]).run().events(number)
        return made[number]

    return events


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 3, 4, 1, 2, 0)])
def test_every_trial_is_as_if_alone_in_whatever_order_they_come(
    make_packed_objective, make_start, alone, order
):
    objective = make_packed_objective()
    driver = Driver(objective, map(make_start, order)).run()
    assert objective.capacity == SLOTS + 1  # one waits for a slot or for its scores
    for number in order:
        assert_same_trial(driver.events(number), alone(number))
        assert [type(e) for e in driver.events(number) if not isinstance(e, Progressed)] == [
            Started,
            *[Reported] * 3,
            Finished,
        ]
    order_of_events = [number_of(event) for event in driver.order]
    mixed = sum(a != b for a, b in pairwise(order_of_events))
    assert mixed > 2 * len(order)
    assert max(event.resources.pack_size for event in of(Reported, driver.order)) == SLOTS


def test_pruned_trials_make_room_and_leave_their_neighbours_alone(make_packed_objective, make_start, alone):
    def decide(event):
        if isinstance(event, Reported) and number_of(event) in (0, 4):
            return Stop(key=event.key, attempt=1, reason="pruned")
        return None

    driver = Driver(make_packed_objective(), map(make_start, range(6)), decide=decide).run()
    for number in (1, 2, 3, 5):
        assert_same_trial(driver.events(number), alone(number))
    for number in (0, 4):
        assert isinstance(driver.events(number)[-1], Stopped)
        reported = dev_losses(driver.events(number))
        assert reported == pytest.approx(dev_losses(alone(number))[: len(reported)], rel=1e-4)
        assert len(reported) < 3


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_trial_that_diverges_ends_alone(make_packed_objective, make_start, alone, poison):
    objective = make_packed_objective()
    driver = Driver(objective, map(make_start, (0, 1, 2, 3)))
    while len(of(Started, driver.order)) < SLOTS:
        driver.advance()
    slots = objective._engine.slots
    run = next(run for run in slots.training if run.spec.number == 1)
    slots.pack.stack.master[run.phase.slot].fill_(poison)
    driver.run()
    failed = driver.events(1)[-1]
    assert (type(failed), failed.kind) == (Failed, FailureKind.DIVERGED)
    assert failed.resources.pack_size == SLOTS and failed.resources.gpu_seconds_attributed > 0
    for number in (0, 2, 3):
        assert_same_trial(driver.events(number), alone(number))


def test_a_trial_that_cannot_begin_fails_alone(make_packed_objective, make_start, alone):
    checkpoint = of(Reported, alone(4))[0].checkpoint
    starts = [make_start(0), make_start(1, checkpoint=checkpoint), make_start(2)]
    driver = Driver(make_packed_objective(), starts).run()
    (failed,) = driver.events(1)
    assert failed.kind is FailureKind.CRASHED and "checkpoint" in failed.message
    for number in (0, 2):
        assert_same_trial(driver.events(number), alone(number))


@pytest.mark.parametrize("step", [1, 2])
def test_a_trial_resumed_beside_others_goes_on_as_undisturbed(make_packed_objective, make_start, alone, step):
    report = of(Reported, alone(0))[step - 1]
    resumed = make_start(0, attempt=2, checkpoint=report.checkpoint)
    starts = [make_start(1), make_start(2), resumed, make_start(3)]
    driver = Driver(make_packed_objective(), starts).run()
    done, whole, events = report.measurement.optimizer_steps, alone(0), driver.events(0)
    losses = [point.loss for point in curve(events)]
    assert losses == pytest.approx([point.loss for point in curve(whole)][done:], rel=1e-4)
    assert dev_losses(events) == pytest.approx(dev_losses(whole)[step:], rel=1e-4)
    (first,), (second,) = of(Finished, events), of(Finished, whole)
    assert first.best_step == second.best_step
    assert first.scores.aggregate == pytest.approx(second.scores.aggregate, rel=1e-4)
    for number in (1, 2, 3):
        assert_same_trial(driver.events(number), alone(number))


def test_a_trial_may_go_on_with_moments_in_eight_bits_in_host_memory(
    make_packed_objective, make_start, alone
):
    report, whole = of(Reported, alone(0))[0], alone(0)
    objective = make_packed_objective(packing={"optimizer_bits": 8, "offload_optimizer": True})
    resumed = make_start(0, attempt=2, checkpoint=report.checkpoint)
    driver = Driver(objective, [resumed, make_start(1)]).run()
    assert objective._engine.arrangement.optimizer_bits == 8
    for number, begun, expected in ((0, 1, whole), (1, 0, alone(1))):
        got, wanted = dev_losses(driver.events(number)), dev_losses(expected)[begun:]
        assert got == pytest.approx(wanted, rel=0.01) and got != pytest.approx(wanted, rel=1e-9)


def test_the_first_pass_has_all_trials_that_were_started(make_packed_objective, make_start, monkeypatch):
    monkeypatch.setattr("loratory.objectives.qlora.trial.arrivals._SECONDS_FOR_COMPANY", 60)
    objective = make_packed_objective()
    objective.advance(())
    events = objective.advance([make_start(number) for number in range(objective.capacity)])
    assert [number_of(event) for event in of(Started, events)] == list(range(SLOTS))


def test_a_stopped_trial_on_its_way_keeps_nobody_waiting(
    make_packed_objective, make_start, alone, monkeypatch
):
    never = threading.Event()

    def make(start, **given):
        assert start.trial.number != 1 or never.wait(60)
        return new_trial(start, **given)

    monkeypatch.setattr("loratory.objectives.qlora.trial.arrivals.new_trial", make)
    monkeypatch.setattr("loratory.objectives.qlora.trial.arrivals._SECONDS_FOR_COMPANY", 1000)
    objective = make_packed_objective()
    stop = Stop(key="0001", attempt=1, reason="no longer wanted")
    events = objective.advance([make_start(0), make_start(1), stop])
    while not of(Finished, events):
        events += objective.advance(())
    never.set()
    assert not of(Started, [event for event in events if number_of(event) == 1])
    assert_same_trial([event for event in events if number_of(event) == 0], alone(0))


def test_more_starts_than_slots_break_the_contract(make_packed_objective, make_start):
    objective = make_packed_objective()
    objective.advance([make_start(number) for number in range(objective.capacity)])
    with pytest.raises(LoratoryError, match="free slot"):
        objective.advance([make_start(9)])


@pytest.fixture(scope="module")
def contrary(data, tokenizer):
    """Splits whose dev answers have no token of the answers in train: the loss on dev soon rises."""
    answer = tuple(tokenizer("QZXJVKWUQZ")["input_ids"])
    return replace(data, dev=Examples.of(replace(example, answer_ids=answer) for example in data.dev))


class Late(DevicePolicy):
    """As on a GPU: copies wait for their scores, and their trials train on."""

    _seen, _since = 0, 0

    def scores(self, *, waiting, ready, **_):
        if waiting != self._seen:
            self._seen, self._since = waiting, self._passes
        return bool(waiting) and (not ready or self._passes - self._since >= 3)


@pytest.fixture
def on_gpu_terms(monkeypatch):
    """A function: let objectives that are made next share the device by a policy, as on a GPU."""
    return lambda policy: monkeypatch.setattr(objective_module, "DevicePolicy", lambda **_: policy)


def test_what_a_trial_does_while_it_is_measured_is_thrown_away_where_it_stops(
    contrary, make_packed_objective, make_start, on_gpu_terms
):
    changes = {"early_stopping_patience": 1, "evaluation": {"evaluations": 8}}
    fast = {"learning_rate": 3e-2, "epochs": 6.0}
    starts = [make_start(number, **fast) for number in (0, 3, 4, 5)]
    on_gpu_terms(Late(gathers=True))
    objective, went_on = make_packed_objective(contrary, tokens=1000, **changes), {}

    def watch(event):
        if isinstance(event, Reported):
            made = objective._trials[event.key, 1].progress.optimizer_steps
            went_on[number_of(event)] = made - event.measurement.optimizer_steps

    driver = Driver(objective, starts, decide=watch).run()
    patient = make_packed_objective(contrary, slots=1, tokens=2000, **changes)
    for start in starts:
        number = start.trial.number
        expected = Driver(patient, [start]).run().events(number)
        measured = of(Reported, expected)[-1].measurement
        assert measured.step < 8 and "early stopping" in of(Finished, expected)[0].reason
        assert_same_trial(driver.events(number), expected, curve_until=measured.optimizer_steps)
    assert sum(steps > 0 for steps in went_on.values()) >= 2, went_on


def tight(monkeypatch, too_much):
    """Let memory run out in the passes of which `too_much` says so."""
    real, raised = PackedModel.losses, []

    def losses(self, inputs):
        if too_much(inputs):
            raised.append(inputs.shape.tokens)
            raise torch.OutOfMemoryError("too much")
        return real(self, inputs)

    monkeypatch.setattr(PackedModel, "losses", losses)
    return raised


def test_memory_that_runs_out_makes_passes_smaller_and_loses_no_trial(
    make_packed_objective, make_start, alone, monkeypatch
):
    objective = make_packed_objective(tokens=1000)
    raised = tight(monkeypatch, lambda inputs: inputs.shape.tokens > 200)
    driver = Driver(objective, map(make_start, range(4))).run()
    assert raised and objective._engine._engine_size.slots == SLOTS
    assert objective._engine.slots.tokens_per_pass < 200
    for number in range(4):
        assert_same_trial(driver.events(number), alone(number))


@pytest.mark.parametrize(("after", "smallest_pass"), [(0, 64), (15, 300)])
def test_memory_for_one_trial_only_makes_the_others_wait(
    make_packed_objective, make_start, alone, monkeypatch, after, smallest_pass
):
    monkeypatch.setattr(engine, "_SMALLEST_PASS", smallest_pass)
    objective = make_packed_objective()
    driver = Driver(objective, map(make_start, range(4)))
    for _ in range(after):
        driver.advance()
    raised = tight(monkeypatch, lambda given: torch.is_grad_enabled() and len(given.segments.spans) > 1)
    driver.run()
    assert raised and objective._engine._engine_size.slots == 1 and not objective._engine._model.holds_base
    for number in range(4):
        assert_same_trial(driver.events(number), alone(number))
        assert len(of(Started, driver.events(number))) == 1


def test_memory_that_runs_out_in_an_update_loses_no_other_update(
    make_packed_objective, make_start, alone, monkeypatch
):
    real, calls = Pack.update, []

    def update(self, slot, learning_rate):
        calls.append(slot)
        # AdamW allocates its moments in its first step: the most likely place of all.
        if len(calls) > 1 and calls[-1] != calls[-2] and calls.count(-1) < 2:
            calls.append(-1)
            raise torch.OutOfMemoryError("too much")
        return real(self, slot, learning_rate)

    monkeypatch.setattr(Pack, "update", update)
    driver = Driver(make_packed_objective(tokens=1000), map(make_start, range(3))).run()
    assert calls.count(-1) == 2
    for number in range(3):
        assert_same_trial(driver.events(number), alone(number))


def free_rows(objective):
    return len(objective._engine.evaluator._free)


def test_a_trial_resumed_after_its_last_evaluation_is_scored_on_select_and_takes_no_slot(
    make_packed_objective, make_start, alone, data, on_gpu_terms
):
    whole = alone(2)
    last = of(Reported, whole)[-1].checkpoint
    on_gpu_terms(DevicePolicy(gathers=True))
    objective = make_packed_objective()
    starts = [make_start(0), make_start(1), make_start(3), make_start(2, attempt=2, checkpoint=last)]
    driver = Driver(objective, starts).run()
    (finished,) = of(Finished, driver.events(2))
    assert finished.scores.example_ids == tuple(example.example_id for example in data.select)
    assert finished.scores.aggregate == pytest.approx(of(Finished, whole)[0].scores.aggregate, rel=1e-4)
    assert not curve(driver.events(2))
    assert free_rows(objective) == SLOTS
    for number in (0, 1, 3):
        assert_same_trial(driver.events(number), alone(number))


def test_work_of_the_host_beside_the_device_changes_nothing(make_packed_objective, make_start, monkeypatch):
    metrics = {"metric": "rougeL", "evaluation": {"metrics": ["rougeL", "exact_match"]}}
    plain = Driver(make_packed_objective(**metrics), map(make_start, range(5))).run()
    monkeypatch.setattr(engine, "TextJobs", lambda *, apart: TextJobs(apart=not apart))
    threads = lambda *, byte_limit=None, **_: SerialThread(threaded=True, byte_limit=byte_limit and 1000)  # noqa: E731
    monkeypatch.setattr(objective_module, "SerialThread", threads)
    objective = make_packed_objective(**metrics)
    beside = Driver(objective, map(make_start, range(5))).run()
    for number in range(5):
        assert_same_trial(beside.events(number), plain.events(number))
        (got,), (wanted,) = (of(Finished, driver.events(number)) for driver in (beside, plain))
        assert got.predictions == wanted.predictions
    assert free_rows(objective) == SLOTS


def test_memory_that_a_copy_lacks_on_the_device_is_taken_on_the_cpu(
    make_packed_objective, make_start, alone, monkeypatch
):
    real = Pack.copy

    def tight(self, slot, like, *, moments, on_cpu=False):
        if not on_cpu:
            raise torch.OutOfMemoryError("too much")
        return real(self, slot, like, moments=moments, on_cpu=on_cpu)

    monkeypatch.setattr(Pack, "copy", tight)
    driver = Driver(make_packed_objective(), [make_start(1)]).run()
    assert_same_trial(driver.events(1), alone(1))


def test_memory_that_copies_hold_is_waited_for_before_anything_is_made_smaller(
    make_packed_objective, make_start, alone, monkeypatch
):
    copies, go = SerialThread(threaded=True), threading.Event()
    monkeypatch.setattr(objective_module, "SerialThread", lambda **_: copies)
    objective = make_packed_objective()
    copies.begin(go.wait)
    room, raised = objective._engine._engine_size, []
    real = Pack.train

    def tight(self, pieces):
        if not raised:
            raised.append(True)
            threading.Timer(0.1, go.set).start()
            raise torch.OutOfMemoryError("too much")
        return real(self, pieces)

    monkeypatch.setattr(Pack, "train", tight)
    driver = Driver(objective, [make_start(0), make_start(1)]).run()
    assert raised and objective._engine._engine_size == room
    for number in (0, 1):
        assert_same_trial(driver.events(number), alone(number))


def test_texts_that_cannot_be_scored_end_their_trial_alone(make_packed_objective, make_start, monkeypatch):
    metrics = {"metric": "rougeL", "evaluation": {"metrics": ["rougeL"]}}
    objective = make_packed_objective(**metrics)
    real, broken = evaluator.text_job, []

    def text_job(*given):
        broken.append(not broken)
        return fail if broken[-1] else real(*given)

    def fail():
        raise ValueError("no text")

    monkeypatch.setattr(evaluator, "text_job", text_job)
    driver = Driver(objective, [make_start(0), make_start(1)]).run()
    ends = [event for event in driver.order if isinstance(event, Failed | Finished)]
    assert [type(event) for event in ends].count(Failed) == 1 and len(ends) == 2
    (failed,) = of(Failed, ends)
    assert failed.kind is FailureKind.CRASHED and "no text" in failed.message
    assert free_rows(objective) == SLOTS


def test_a_step_that_goes_wrong_after_a_copy_was_taken_counts_only_once_the_copy_is_scored(
    make_packed_objective, make_start, monkeypatch, on_gpu_terms
):
    on_gpu_terms(DevicePolicy(gathers=True))
    objective = make_packed_objective()
    driver = Driver(objective, [make_start(0), make_start(3)])
    while ("0000", 1) not in objective._trials or objective._trials["0000", 1].measuring is None:
        driver.advance()
    taken_at = objective._trials["0000", 1].measuring.progress.optimizer_steps
    real = PackedModel.losses

    def poisoned(self, inputs):
        loss, losses = real(self, inputs)
        return loss, torch.where(inputs.target_slots == 0, losses * float("nan"), losses)

    monkeypatch.setattr(
        PackedModel,
        "losses",
        lambda self, inputs: poisoned(self, inputs) if torch.is_grad_enabled() else real(self, inputs),
    )
    for _ in range(3):
        driver.advance()
    monkeypatch.undo()
    driver.run()
    reports, (failed,) = of(Reported, driver.events(0)), of(Failed, driver.events(0))
    assert [report.measurement.optimizer_steps for report in reports] == [taken_at]
    assert failed.kind is FailureKind.DIVERGED
    assert of(Finished, driver.events(3))


def test_a_slot_that_has_no_memory_yet_makes_no_trial_infeasible(
    make_packed_objective, make_start, alone, monkeypatch
):
    real, left = Pack.put, iter([True, True])

    def tight(self, *given):
        if next(left, False):
            raise torch.OutOfMemoryError("too much")
        return real(self, *given)

    monkeypatch.setattr(Pack, "put", tight)
    driver = Driver(make_packed_objective(), [make_start(0), make_start(1)]).run()
    for number in (0, 1):
        assert_same_trial(driver.events(number), alone(number))


def test_scoring_that_never_fits_ends_its_trials_and_not_the_worker(
    make_packed_objective, make_start, alone, monkeypatch
):
    objective = make_packed_objective()

    def tight(self):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(type(objective._engine.evaluator), "advance", tight)
    driver = Driver(objective, [make_start(0), make_start(1)]).run()
    monkeypatch.undo()
    for number in (0, 1):
        assert [event.kind for event in of(Failed, driver.events(number))] == [FailureKind.OOM]
    again = Driver(objective, [make_start(2)]).run()
    assert_same_trial(again.events(2), alone(2))


@pytest.mark.parametrize("slots", [SLOTS, 1])
def test_a_pack_that_cannot_be_made_anew_ends_the_worker_and_no_trial(
    make_packed_objective, make_start, monkeypatch, slots
):
    """The driver lets the trials go on from their checkpoints on the worker's successor."""
    objective = make_packed_objective(slots=slots)
    driver = Driver(objective, [make_start(0)])
    while not curve(driver.events(0)):
        driver.advance()
    monkeypatch.setattr(engine.Engine, "_may_offload", property(lambda self: not self._engine_size.offload))
    monkeypatch.setattr(engine, "AdapterStack", lambda *_, **__: out_of_memory())
    tight(monkeypatch, lambda _: True)
    with pytest.raises(NothingLeftError, match="no memory for a pack of one slot"):
        driver.run()
    assert not of(Failed, driver.events(0))


def test_a_pack_of_one_slot_takes_the_memory_of_the_cache_before_the_worker_ends(
    make_packed_objective, monkeypatch
):
    decoded = {"metric": "exact_match", "evaluation": {"metrics": ["exact_match"]}}
    objective = make_packed_objective(slots=1, **decoded)
    reduced, real = objective._engine, engine.AdapterStack

    def stack(*given, **named):
        return out_of_memory() if reduced._decoder.cached_rows > 4 else real(*given, **named)

    monkeypatch.setattr(engine, "AdapterStack", stack)
    assert reduced._decoder.cached_rows > 4
    reduced.slots.replace_pack(reduced._pack_that_fits)
    assert reduced.slots.pack.stack.slots == 1
    assert 1 <= reduced._decoder.cached_rows == reduced.arrangement.decoding_rows <= 4


def out_of_memory():
    raise torch.OutOfMemoryError("too much")


def test_relief_ends_and_says_what_it_took(make_packed_objective):
    decoded = {"metric": "exact_match", "evaluation": {"metrics": ["exact_match"]}}
    objective = make_packed_objective(packing={"cache_base": True}, **decoded)
    lines, relief = [], objective._relief
    for need in [Need.SCORING, Need.PASS] * 40:
        if not relief.make_room(need):
            break
        lines += relief.take_lines()
    else:
        raise AssertionError("memory is made smaller for ever")
    assert len(lines) < 40 and f"memory ran out for {Need.SCORING}; from now on" in lines[0]
    assert "1 trial on one base, up to 80 tokens" in lines[-1] and "1 prompt decoded at once" in lines[-1]
    assert "activations recomputed" in lines[-1] and "16 prompts decoded at once" in lines[0]
    now = objective._engine.arrangement
    assert (now.slots, now.holds_base, now.gradient_checkpointing) == (1, False, True)
    assert not relief.take_lines()


def test_relief_of_a_base_that_generate_decodes_ends_too(make_study, base_folder, make_objective):
    objective = make_objective(
        make_study(
            model={"base": str(base_folder("bloom"))},
            evaluation={"metrics": ["exact_match"]},
            metric="exact_match",
            training={"target_modules": "all-linear", "dropout": 0.0},
        )
    )
    assert sum(objective._relief.make_room(Need.SCORING) for _ in range(60)) < 30


def test_what_is_made_smaller_is_told_as_an_event(make_packed_objective, make_start, monkeypatch):
    objective = make_packed_objective(tokens=1000)
    raised = tight(monkeypatch, lambda inputs: inputs.shape.tokens > 200)
    driver = Driver(objective, [make_start(0)]).run()
    (*lines,) = of(Noted, driver.events(None))
    assert raised and all(f"memory ran out for {Need.PASS}" in noted.line for noted in lines) and lines
