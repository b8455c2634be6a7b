"""A trial under whatever may happen to it: no illegal state, no event out of place, nothing left behind."""

import os
import random
from collections import deque

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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
from loratory.objectives.packing.pack import Pack
from loratory.objectives.qlora import objective as objective_module
from loratory.objectives.qlora.device_work import DevicePolicy
from loratory.objectives.qlora.objective import QloraObjective
from loratory.objectives.qlora.scoring.evaluator import Evaluator
from loratory.objectives.qlora.scoring.measurements import Measurements
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.phases import Ending, Finishing, Judging, Over, Training, Waiting
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.records import FailureKind

SLOTS, EVALUATIONS, PATIENCE = 2, 3, 1
TRIALS = (
    {"batch_size": 8},
    {"batch_size": 3, "rank": 8, "epochs": 0.5},
    {"batch_size": 24, "epochs": 2.0, "learning_rate": 0.1},  # fewer updates than points of the grid
    {"batch_size": 6, "learning_rate": 3e-2},
)
HAPPENINGS = ("advance", "start", "prune", "stop late", "diverge", "preempt", "resume")
SHORTAGES = {
    "train": (Pack, "train"),
    "put": (Pack, "put"),
    "update": (Pack, "update"),
    "score": (Evaluator, "advance"),
}
LIVES = int(os.environ.get("LORATORY_LIVES", "12"))


class Life:
    """Lets things happen to the trials of one worker, and checks all that can be seen after each."""

    def __init__(self, objective, make_start, monkeypatch):
        self.objective, self.make_start, self.monkeypatch = objective, make_start, monkeypatch
        self.slots, self.evaluator = objective._engine.slots, objective._engine.evaluator
        self.begun, self.running, self.events, self.poisoned = 0, {}, {}, set()
        self.ended, self.checkpoints = deque(), {}
        self.advance()

    def happen(self, what, which):
        keys = sorted(self.running)
        chosen = keys[which % len(keys)] if keys else None
        trial = self.objective._trials.get(chosen)
        match what:
            case "start" if len(self.running) < self.objective.capacity:
                self.start(self.begun, attempt=1)
                self.begun += 1
            case "resume" if self.ended and len(self.running) < self.objective.capacity:
                number, attempt = self.ended.popleft()
                self.start(number, attempt=attempt + 1)
            case "prune" if chosen:
                self.advance(Stop(key=chosen[0], attempt=chosen[1], reason="pruned"))
            case "stop late":
                self.advance(Stop(key="9999", attempt=1, reason="late"))
            case "diverge" if trial is not None and isinstance(trial.phase, Training):
                self.slots.pack.stack.master[trial.phase.slot].fill_(float("nan"))
                self.slots.pack.stack.refresh(trial.phase.slot)
                self.poisoned.add(chosen)
            case "preempt" if trial is not None and isinstance(trial.phase, Training):
                self.slots.suspend(trial)
            case _ if what in SHORTAGES:
                self.run_out_of_memory(*SHORTAGES[what])
            case _:
                self.advance()
        self.check()

    def start(self, number, *, attempt):
        start = self.make_start(number, attempt=attempt, checkpoint=self.checkpoints.get(number))
        self.running[start.trial.key, attempt] = number
        self.events[start.trial.key, attempt] = []
        self.advance(start)

    def run_out_of_memory(self, owner, name):
        real, left = getattr(owner, name), [True]

        def tight(*given, **named):
            if left.pop() if left else False:
                raise torch.OutOfMemoryError("too much")
            return real(*given, **named)

        with self.monkeypatch.context() as patch:
            patch.setattr(owner, name, tight)
            self.advance()

    def advance(self, *decisions):
        for event in self.objective.advance(decisions):
            if not isinstance(event, Ready | Scored | Noted | Worked) and event.key != "9999":
                self.note(event)

    def note(self, event):
        key = event.key, event.attempt
        assert key in self.running, f"{event} of a trial that is over"
        self.events[key].append(event)
        if isinstance(event, Reported) and event.checkpoint is not None:
            self.checkpoints[self.running[key]] = event.checkpoint
        if isinstance(event, Failed):
            expected = {FailureKind.OOM} | ({FailureKind.DIVERGED} if key in self.poisoned else set())
            assert event.kind in expected, event.traceback
        if isinstance(event, Finished | Failed | Stopped):
            check_events(self.events[key], resumed=event.attempt > 1)
            number = self.running.pop(key)
            if not isinstance(event, Finished) and key not in self.poisoned:
                self.ended.append((number, event.attempt))

    def check(self):
        """Phases, slots, line and evaluator agree."""
        trials, slots = self.objective._trials, self.slots
        held = {slot: trial for slot, trial in slots._trials.items() if isinstance(trial.phase, Training)}
        assert set(slots.training) == {t for t in trials.values() if isinstance(t.phase, Training)}
        assert all(trial.phase.slot == slot for slot, trial in held.items())
        assert len(set(map(id, slots._line))) == len(slots._line)
        assert set(slots._line) == {t for t in trials.values() if isinstance(t.phase, Waiting)}
        for slot in range(slots.pack.stack.slots):
            assert slot in slots._trials or not slots.pack.stack.master[slot].any()
        awaited = {*self.evaluator._requests, *self.evaluator._computed}
        for key, trial in trials.items():
            assert trial.key == key and not isinstance(trial.phase, Over)
            assert (key in awaited) == (trial.measuring is not None or isinstance(trial.phase, Finishing))
            assert not isinstance(trial.phase, Judging) or trial.measuring is not None
            assert not isinstance(trial.phase, Ending | Finishing) or trial.measuring is None
        assert awaited <= set(trials)
        assert len(trials) <= len(self.running)

    def drain(self):
        """Without more happenings every trial ends, and leaves nothing behind."""
        for _ in range(500):
            if not self.running:
                break
            self.advance()
            self.check()
        assert not self.running, "a trial does not end"
        assert self.slots.free == self.slots.pack.stack.slots and self.evaluator.has_room
        assert len(self.evaluator._free) == self.evaluator._stack.slots


def check_events(events, *, resumed):
    """The events of one attempt, which is over: each in its place and each once."""
    kinds = [type(event) for event in events]
    assert kinds.count(Started) <= 1 and (Started not in kinds or kinds[0] is Started)
    assert sum(kind in (Finished, Failed, Stopped) for kind in kinds) == 1
    points = [
        point.optimizer_step for event in events if isinstance(event, Progressed) for point in event.points
    ]
    assert points == sorted(set(points))
    reports = [event.measurement for event in events if isinstance(event, Reported)]
    steps = [measurement.step for measurement in reports]
    assert steps == list(range(steps[0], steps[0] + len(steps))) if steps else True
    if not resumed and reports:
        assert steps[0] == 1
    if isinstance(events[-1], Finished) and not resumed:
        losses = [measurement.metrics["loss"] for measurement in reports]
        assert losses[events[-1].best_step - 1] == min(losses)
        if events[-1].reason == "trained to the end":
            assert steps[-1] == EVALUATIONS
        else:
            assert min(losses[:-PATIENCE]) <= min(losses[-PATIENCE:])


@pytest.fixture(scope="module")
def worker(make_study, make_prepared, make_objective):
    study = make_study(
        space={"weight_decay": [0.0, 0.1], "rank": [4, 8]},
        packing={"slots": SLOTS, "tokens_per_pass": 1000},
        early_stopping_patience=PATIENCE,
        evaluation={"evaluations": EVALUATIONS},
    )
    return study, make_objective(study)


@pytest.fixture(scope="module")
def make_life(worker, make_trial, data):
    """A function: a life on the worker as it was when it began."""
    study, built = worker
    engine = built._engine
    room = engine._engine_size

    def make_start(number, *, attempt, checkpoint):
        options = {"epochs": 1.0, "rank": 4} | TRIALS[number % len(TRIALS)]
        return Start(trial=make_trial(study, number, attempt=attempt, **options), checkpoint=checkpoint)

    def make(monkeypatch):
        monkeypatch.setattr(objective_module, "DevicePolicy", lambda **_: DevicePolicy(gathers=True))
        engine._engine_size = room
        engine._build()
        objective = QloraObjective(study, base=engine._base, engine=engine, data=data, hashes={})
        return Life(objective, make_start, monkeypatch)

    return make


happenings = st.lists(
    st.tuples(st.sampled_from((*HAPPENINGS, *["advance"] * 6, *SHORTAGES)), st.integers(0, 7)),
    min_size=10,
    max_size=50,
)


# Each step is a pass of a real model: shrinking would take longer than reading the happenings.
@settings(
    max_examples=LIVES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(happenings)
def test_whatever_happens_no_trial_is_in_an_illegal_state(make_life, happened):
    with pytest.MonkeyPatch.context() as monkeypatch:
        life = make_life(monkeypatch)
        for what, which in happened:
            life.happen(what, which)
        life.drain()


def decide_too_early(monkeypatch):
    def report(self, trial):
        trial.decide()
        yield from self._announcements.measured(trial)

    monkeypatch.setattr(Measurements, "_report", report)


def stay_in_line(monkeypatch):
    real = Slots._follow_phases

    def follow(self):
        line = deque(self._line)
        real(self)
        self._line = line

    monkeypatch.setattr(Slots, "_follow_phases", follow)


def keep_the_slot_of_a_trial_that_waits(monkeypatch):
    monkeypatch.setattr(Slots, "_follow_phases", lambda self: None)


def count_no_point_as_reported(monkeypatch):
    real = Trial.begin_measurement

    def begin(self, state, *, checkpoint):
        reported = self.progress.reported
        real(self, state, checkpoint=checkpoint)
        self.progress.reported = reported

    monkeypatch.setattr(Trial, "begin_measurement", begin)


def leave_the_copy_of_a_stopped_trial(monkeypatch):
    monkeypatch.setattr(QloraObjective, "_forget", lambda self, trial: self._trials.pop(trial.key, None))


def leave_a_measurement_under_way(monkeypatch):
    real = Trial.decide

    def decide(self):
        measuring = self.measuring
        real(self)
        self.measuring = measuring

    monkeypatch.setattr(Trial, "decide", decide)


@pytest.mark.parametrize(
    "plant",
    [
        decide_too_early,
        stay_in_line,
        keep_the_slot_of_a_trial_that_waits,
        count_no_point_as_reported,
        leave_the_copy_of_a_stopped_trial,
        leave_a_measurement_under_way,
    ],
)
def test_a_planted_fault_is_found(make_life, plant):
    assert found(make_life, plant, lives=20)


def test_the_same_lives_find_nothing_where_nothing_is_planted(make_life):
    assert not found(make_life, lambda _: None, lives=5)


def found(make_life, plant, *, lives):
    """Return whether some lives break an invariant, or their worker."""
    draw = random.Random(0)
    for _ in range(lives):
        with pytest.MonkeyPatch.context() as monkeypatch:
            life = make_life(monkeypatch)
            plant(monkeypatch)
            try:
                for _ in range(40):
                    life.happen(draw.choice((*HAPPENINGS, *["advance"] * 6)), draw.randrange(8))
                life.drain()
            except Exception:
                return True
    return False
