"""The toy objective: analytic learning curves with a known optimum, noise and faults, without torch.

The score of a trial rises towards a ceiling that is highest at learning rate 3e-4, rank 16 and batch size
16, and falls off as a Gaussian in their logarithms. Everything random follows from the trial's seed, so a
trial gives the same curve in any slot, on any worker, and from any checkpoint.
"""

import json
import math
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loratory.objectives.events import (
    Decision,
    Event,
    Failed,
    Finished,
    Progressed,
    Ready,
    Reported,
    Score,
    Scored,
    Start,
    Started,
    Stop,
    Stopped,
)
from loratory.objectives.objective import Beginning, ObjectiveKind, Prepared
from loratory.objectives.records import Arrangement, CurvePoint, FailureKind, Measurement, Resources
from loratory.objectives.scores import ScoreTable
from loratory.objectives.stopping import Evaluated, best, stopping_rule
from loratory.spaces.metric_names import Direction
from loratory.spaces.study import StudySpec
from loratory.spaces.toy import FaultSpec, ToySpec
from loratory.spaces.training import TrainingParameters
from loratory.spaces.trial import TrialSpec

OPTIMUM = TrainingParameters(learning_rate=3e-4, rank=16, batch_size=16, epochs=3)
CEILING, FLOOR = 0.8, 0.05
_WIDTHS = {"learning_rate": 0.5, "rank": 1.5, "batch_size": 1.5}  # decades at which the score falls to 61%
_OPTIMIZER_STEPS_PER_EVALUATION = 10
_TOKENS_PER_EXAMPLE = 100


_KEPT = ("step", "seconds", "device_seconds", "pack_size")
"""Fields of a slot that its checkpoint holds."""


class InjectedFaultError(RuntimeError):
    """A fault that the study file asked for."""


def quality(training: TrainingParameters, progress: float) -> float:
    """The noiseless score, in [0, 1], after a share of a trial's schedule.

    Args:
        training: the trial's hyperparameters.
        progress: share of the schedule done, 0 to 1.
    """
    exponent = 0.0
    for name, width in _WIDTHS.items():
        decades = math.log10(getattr(training, name) / getattr(OPTIMUM, name))
        exponent += (decades / width) ** 2 / 2
    ceiling = FLOOR + (CEILING - FLOOR) * math.exp(-exponent)
    return ceiling - (ceiling - FLOOR) * math.exp(-2.0 * progress * math.sqrt(training.epochs))


@dataclass
class _Slot:
    """A trial with what it has done; its history follows from its seed, and is in no checkpoint."""

    trial: TrialSpec
    fault: str | None
    step: int = 0
    history: list[Evaluated] = field(default_factory=list)
    seconds: float = 0.0
    device_seconds: float = 0.0
    pack_size: int = 1

    def checkpoint(self) -> bytes:
        return json.dumps({name: getattr(self, name) for name in _KEPT}).encode()

    def restore(self, checkpoint: bytes | None) -> None:
        if checkpoint is not None:
            state = json.loads(checkpoint)
            vars(self).update({name: state[name] for name in _KEPT})


class ToyObjective:
    """Trials in slots; every call of `advance` makes one evaluation of each."""

    def __init__(self, study: StudySpec) -> None:
        self._study = study
        self._toy = study.toy or ToySpec()
        self._rule = stopping_rule(study.stopping)
        self.capacity = study.packing.slots or 1
        self._active: dict[str, _Slot] = {}
        self._ready_sent = False

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then evaluate every trial that holds a slot once more."""
        events: list[Event] = []
        if not self._ready_sent:
            self._ready_sent = True
            events.append(
                Ready(
                    device="toy",
                    compute_dtype="fp64",
                    capacity=self.capacity,
                    arrangement=Arrangement(slots=self.capacity),
                    trial_limit_bytes=self._toy.memory.limit_bytes,
                )
            )
        for decision in decisions:
            events.append(self._carry_out(decision))
        if self._active:
            self._spend_time()
        for slot in list(self._active.values()):
            events += self._work(slot)
        return events

    def _spend_time(self) -> None:
        """Trials of a pack work at the same time, and share it."""
        started = time.perf_counter()
        time.sleep(self._toy.seconds_per_evaluation)
        seconds = time.perf_counter() - started
        for slot in self._active.values():
            slot.seconds += seconds
            slot.device_seconds += seconds / len(self._active)
            slot.pack_size = max(slot.pack_size, len(self._active))

    def _carry_out(self, decision: Decision) -> Event:
        match decision:
            case Start():
                return self._start(decision)
            case Stop():
                slot = self._active.get(decision.key)
                if slot is not None and slot.trial.attempt == decision.attempt:
                    del self._active[decision.key]
                return Stopped(key=decision.key, attempt=decision.attempt)
            case Score():
                scores = self._score_table(FLOOR, seed=0)
                return Scored(
                    key=decision.key,
                    split=decision.split,
                    scores=scores,
                    predictions=(),
                    resources=Resources(),
                )

    def _start(self, decision: Start) -> Started:
        if len(self._active) == self.capacity:
            raise RuntimeError(f"starts must not exceed the free slots, all {self.capacity} are taken")
        trial = decision.trial
        slot = _Slot(trial, injected_fault(self._toy.faults, trial))
        slot.restore(decision.checkpoint)
        slot.history = [self._evaluated(trial, step) for step in range(1, slot.step + 1)]
        self._active[trial.key] = slot
        total = self._study.evaluation.evaluations * _OPTIMIZER_STEPS_PER_EVALUATION
        return Started(key=trial.key, attempt=trial.attempt, optimizer_steps=total)

    def _work(self, slot: _Slot) -> list[Event]:
        try:
            return self._evaluate(slot)
        except InjectedFaultError as fault:
            kind = {"oom": FailureKind.OOM, "diverge": FailureKind.DIVERGED}.get(
                str(slot.fault), FailureKind.CRASHED
            )
            del self._active[slot.trial.key]
            return [
                Failed(
                    key=slot.trial.key,
                    attempt=slot.trial.attempt,
                    kind=kind,
                    message=str(fault),
                    resources=_resources(slot),
                )
            ]

    def _evaluate(self, slot: _Slot) -> list[Event]:
        events: list[Event] = []
        if self._why_over(slot) is None:  # a checkpoint may be a trial's last
            slot.step += 1
            _inject(slot, self._study.evaluation.evaluations)
            slot.history.append(self._evaluated(slot.trial, slot.step))
            events += [self._progressed(slot), self._reported(slot)]
        if (reason := self._why_over(slot)) is not None:
            events.append(self._finished(slot, reason))
            del self._active[slot.trial.key]
        return events

    def _why_over(self, slot: _Slot) -> str | None:
        """Return why a trial trains no further, or None as long as it does; a rule comes before the end."""
        over = slot.step == self._study.evaluation.evaluations
        reason = self._rule.why_stop(slot.history, Direction.MAXIMIZE)
        return reason or ("trained to the end" if over else None)

    def _progressed(self, slot: _Slot) -> Progressed:
        per_evaluation = _OPTIMIZER_STEPS_PER_EVALUATION
        total = per_evaluation * self._study.evaluation.evaluations
        steps = range((slot.step - 1) * per_evaluation + 1, slot.step * per_evaluation + 1)
        return Progressed(
            key=slot.trial.key,
            attempt=slot.trial.attempt,
            points=tuple(_point(slot.trial.training, step, total) for step in steps),
        )

    def _reported(self, slot: _Slot) -> Reported:
        due = slot.step % self._toy.evaluations_per_checkpoint == 0
        updates = slot.step * _OPTIMIZER_STEPS_PER_EVALUATION
        examples = updates * slot.trial.training.batch_size
        measurement = Measurement(
            step=slot.step,
            optimizer_steps=updates,
            examples_seen=examples,
            tokens_seen=examples * _TOKENS_PER_EXAMPLE,
            elapsed_seconds=slot.seconds,
            metrics=self._metrics(slot.history[-1].value),
        )
        return Reported(
            key=slot.trial.key,
            attempt=slot.trial.attempt,
            measurement=measurement,
            resources=_resources(slot),
            checkpoint=slot.checkpoint() if due else None,
        )

    def _finished(self, slot: _Slot, reason: str) -> Finished:
        found = best(slot.history, Direction.MAXIMIZE)
        assert found is not None  # a trial is over after its first evaluation at the earliest
        truth = quality(slot.trial.training, found.step / self._study.evaluation.evaluations)
        return Finished(
            key=slot.trial.key,
            attempt=slot.trial.attempt,
            reason=reason,
            best_step=found.step,
            scores=self._score_table(truth, seed=slot.trial.seed),
            predictions=(),
            adapter={},
            resources=_resources(slot),
        )

    def _evaluated(self, trial: TrialSpec, step: int) -> Evaluated:
        """Return the noisy score of an evaluation, counted from 1; larger is better."""
        noise = np.random.default_rng([trial.seed, step]).normal(0.0, self._toy.noise)
        progress = step / self._study.evaluation.evaluations
        return Evaluated(step, float(np.clip(quality(trial.training, progress) + noise, 0.0, 1.0)))

    def _metrics(self, score: float) -> dict[str, float]:
        return {"loss": 1.0 - score} | dict.fromkeys(self._study.metrics, score)

    def _score_table(self, truth: float, *, seed: int) -> ScoreTable:
        count = self._toy.examples
        noise = np.random.default_rng([seed, 2**20]).normal(0.0, self._toy.noise * math.sqrt(count), count)
        per_example = np.clip(truth + noise, 0.0, 1.0)
        metrics = {"loss": 1.0 - per_example} | dict.fromkeys(self._study.metrics, per_example)
        return ScoreTable(
            example_ids=tuple(f"toy-{index}" for index in range(count)),
            groups=tuple(f"group-{index % 10}" for index in range(count)),
            metrics=metrics,
            statistics={},
            signatures=dict.fromkeys(metrics, "toy:mean"),
            aggregate={name: float(values.mean()) for name, values in metrics.items()},
        )


def _point(training: TrainingParameters, step: int, total: int) -> CurvePoint:
    return CurvePoint(
        optimizer_step=step,
        loss=1.0 - quality(training, step / total),
        learning_rate=training.learning_rate,
        grad_norm=1.0,
        tokens_seen=step * training.batch_size * _TOKENS_PER_EXAMPLE,
    )


def injected_fault(faults: FaultSpec, trial: TrialSpec) -> str | None:
    """The fault that a trial meets, by its seed: one of the fields of `FaultSpec`, or none."""
    draw = float(np.random.default_rng([trial.seed, 1]).random())
    for name, share in faults.model_dump().items():
        if draw < share:
            return str(name)
        draw -= share
    return None


def _inject(slot: _Slot, evaluations: int) -> None:
    halfway = slot.step >= math.ceil(evaluations / 2)
    if slot.fault is None or not halfway:
        return
    first = slot.trial.attempt == 1
    if slot.fault == "exit" and first:
        os._exit(1)
    if slot.fault in ("crash", "oom", "diverge") or (slot.fault == "flaky" and first):
        raise InjectedFaultError(f"injected fault: {slot.fault}")


def _resources(slot: _Slot) -> Resources:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Resources(
        device="toy",
        pack_size=slot.pack_size,
        gpu_seconds_attributed=slot.device_seconds,
        peak_memory_bytes_pack=peak,
    )


def _prepare(_study: StudySpec, _beginning: Beginning) -> Prepared:
    return Prepared(summary=("toy objective: nothing to read",), has_base=True)


def _build(study: StudySpec, _prepared: Prepared) -> ToyObjective:
    return ToyObjective(study)


def _trial_bytes(study: StudySpec, _prepared: Prepared, parameters: Mapping[str, Any]) -> int:
    return (study.toy or ToySpec()).memory.bytes_per_rank * int(parameters["rank"])


TOY = ObjectiveKind(prepare=_prepare, build=_build, trial_bytes=_trial_bytes)
