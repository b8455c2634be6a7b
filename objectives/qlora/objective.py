"""The QLoRA objective: trials take a slot over one resident base, one step a call."""

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence

import torch

from loratory.objectives.data.prepared import PreparedData
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
    Split,
    Start,
    Started,
    Stop,
    Stopped,
    TrialEvent,
)
from loratory.objectives.qlora.adapter import activate, adapter_from_files, new_adapter, remove_adapter
from loratory.objectives.qlora.architecture import Architecture
from loratory.objectives.qlora.base import Base
from loratory.objectives.qlora.evaluation import Evaluation, evaluate
from loratory.objectives.qlora.memory import (
    device_name,
    is_out_of_memory,
    peak_memory_bytes,
    release_memory,
    reset_peak_memory,
    versions,
)
from loratory.objectives.qlora.plan import Plan
from loratory.objectives.qlora.slot import Slot, open_slot
from loratory.objectives.qlora.training import DivergedError, train_step
from loratory.objectives.records import CurvePoint, FailureKind, Resources
from loratory.spaces.errors import LoratoryError
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import TrialSpec

_SLOT_ADAPTER = "slot_0"
_SCORED_ADAPTER = "scored"
_SECONDS_BETWEEN_PROGRESS = 1.0
_EXAMPLES_A_PASS = 8


class QloraObjective:
    """Trains one trial at a time; every call of `advance` makes one optimiser step, evaluation or scoring."""

    slots = 1

    def __init__(
        self,
        study: StudySpec,
        *,
        base: Base,
        architecture: Architecture,
        data: PreparedData,
        hashes: dict[str, str],
    ) -> None:
        """Take over a loaded base.

        Args:
            study: the study.
            base: the resident base; no adapter in it.
            architecture: the base's layers.
            data: the splits.
            hashes: content hashes, announced with `Ready`.
        """
        self._study, self._base, self._architecture, self._data = study, base, architecture, data
        self._micro_batch_size = _examples_a_pass(study, data)
        self._device = device_name(base.device)
        self._ready: list[Event] = [
            Ready(
                device=self._device,
                compute_dtype=str(base.compute_dtype).removeprefix("torch."),
                versions=versions(),
                hashes=hashes,
            )
        ]
        self._slot: Slot | None = None
        self._points: list[CurvePoint] = []
        self._points_sent = 0.0
        self._scorings: deque[Score] = deque()

    def advance(self, decisions: Sequence[Decision]) -> list[Event]:
        """Carry out decisions, then make one step: of a scoring that waits, else of the trial in the slot."""
        events, self._ready = self._ready, []
        for decision in decisions:
            events += self._carry_out(decision)
        if self._scorings:
            events.append(self._score(self._scorings.popleft()))
        elif self._slot is not None:
            events += self._guarded(self._slot.trial, self._work)
        return events

    def _carry_out(self, decision: Decision) -> Sequence[Event]:
        match decision:
            case Start():
                self._check_free()
                return self._guarded(decision.trial, lambda: self._start(decision))
            case Stop():
                if self._slot is not None and _is_of(self._slot.trial, decision):
                    self._free()
                return [Stopped(number=decision.number, attempt=decision.attempt)]
            case Score():
                self._scorings.append(decision)
                return []

    def _check_free(self) -> None:
        if self._slot is not None:
            raise LoratoryError(f"a trial starts in a free slot, trial {self._slot.trial.number} holds it")

    def _start(self, start: Start) -> Sequence[TrialEvent]:
        trial, began = start.trial, time.perf_counter()
        reset_peak_memory(self._base.device)
        targets = self._architecture.targets(trial.training.target_modules)
        adapter = new_adapter(
            self._base, name=_SLOT_ADAPTER, training=trial.training, targets=targets, seed=trial.seed
        )
        plan = Plan(
            training=trial.training,
            seed=trial.seed,
            train_examples=len(self._data.train),
            evaluations=self._study.evaluation.evaluations,
        )
        slot = open_slot(
            self._base, trial, plan=plan, adapter=adapter, micro_batch_size=self._micro_batch_size
        )
        if start.checkpoint is not None:
            slot.restore(start.checkpoint)
        slot.progress.seconds += time.perf_counter() - began
        self._slot, self._points, self._points_sent = slot, [], time.perf_counter()
        return [Started(number=trial.number, attempt=trial.attempt, optimizer_steps=plan.optimizer_steps)]

    def _work(self) -> Sequence[TrialEvent]:
        """Do what comes next in the slot's trial."""
        slot = self._slot
        assert slot is not None
        began = time.perf_counter()
        if slot.reports_due:
            return [*self._flush(slot.trial), self._report(slot, began)]
        if slot.trained_out:
            return [self._finish(slot, began, "trained to the end")]
        patience = self._study.early_stopping_patience
        if patience is not None and slot.progress.stalled >= patience:
            best = slot.progress.best_step
            return [self._finish(slot, began, f"early stopping: no better since evaluation {best}")]
        point = train_step(self._base, slot, self._data.train)
        self._points += [point] if point is not None else []
        self._account(slot, began)
        if time.perf_counter() - self._points_sent < _SECONDS_BETWEEN_PROGRESS:
            return []
        return self._flush(slot.trial)

    def _report(self, slot: Slot, began: float) -> Reported:
        if slot.progress.metrics is None:
            evaluation = self._evaluate(Split.DEV)
            if not evaluation.finite:
                raise DivergedError(f"metrics on eval.dev are {evaluation.scores.aggregate}")
            slot.keep_measurement(
                evaluation.scores.aggregate,
                metric=self._study.metric,
                direction=self._study.metric_direction,
            )
        self._account(slot, began)
        return Reported(
            number=slot.trial.number,
            attempt=slot.trial.attempt,
            measurement=slot.measurement(),
            resources=slot.resources(self._device),
            checkpoint=slot.checkpoint(),
        )

    def _finish(self, slot: Slot, began: float, reason: str) -> Finished:
        """Score the best matrices on eval.select and give the slot back."""
        assert slot.best is not None
        slot.adapter.load(slot.best)
        evaluation = self._evaluate(Split.SELECT)
        if not evaluation.finite:
            raise DivergedError(f"metrics on eval.select are {evaluation.scores.aggregate}")
        self._account(slot, began)
        finished = Finished(
            number=slot.trial.number,
            attempt=slot.trial.attempt,
            reason=reason,
            best_step=slot.progress.best_step,
            scores=evaluation.scores,
            predictions=evaluation.predictions,
            adapter=slot.adapter.files(slot.best),
            resources=slot.resources(self._device),
        )
        self._free()
        return finished

    def _score(self, score: Score) -> Scored:
        began = time.perf_counter()
        activate(self._base, None)
        if score.adapter is not None:
            adapter_from_files(self._base, name=_SCORED_ADAPTER, files=score.adapter)
        try:
            evaluation = self._evaluate(score.split)
        finally:
            remove_adapter(self._base, _SCORED_ADAPTER)
            activate(self._base, _SLOT_ADAPTER if self._slot is not None else None)
        resources = Resources(
            device=self._device,
            gpu_seconds_attributed=time.perf_counter() - began,
            peak_memory_bytes_pack=peak_memory_bytes(self._base.device),
        )
        return Scored(
            key=score.key,
            split=score.split,
            scores=evaluation.scores,
            predictions=evaluation.predictions,
            resources=resources,
        )

    def _evaluate(self, split: Split) -> Evaluation:
        return evaluate(self._base, self._study, self._data.split(split), labels=self._data.labels)

    def _account(self, slot: Slot, began: float) -> None:
        slot.progress.seconds += time.perf_counter() - began
        slot.progress.peak_memory_bytes = max(
            slot.progress.peak_memory_bytes, peak_memory_bytes(self._base.device)
        )

    def _flush(self, trial: TrialSpec) -> list[TrialEvent]:
        points, self._points = tuple(self._points), []
        self._points_sent = time.perf_counter()
        return [Progressed(number=trial.number, attempt=trial.attempt, points=points)] if points else []

    def _free(self) -> None:
        self._slot, self._points = None, []
        remove_adapter(self._base, _SLOT_ADAPTER)
        release_memory(self._base.device)

    def _guarded(self, trial: TrialSpec, work: Callable[[], Sequence[TrialEvent]]) -> Sequence[Event]:
        """The events of some work; what goes wrong in it fails the trial and empties the slot."""
        try:
            return work()
        except Exception as error:
            if _device_is_lost(error):
                raise
            failed = _failed(trial, error)
        # Outside the handler: while the exception lives, so do the tensors of the failed pass.
        steps = self._flush(trial)
        self._free()
        return [*steps, failed]


def _examples_a_pass(study: StudySpec, data: PreparedData) -> int:
    """How many examples fit the token budget, the longest among them; at least one."""
    if study.packing.tokens_per_slot is None:
        return _EXAMPLES_A_PASS
    longest = max(len(example) for example in data.train)
    return max(1, study.packing.tokens_per_slot // longest)


def _is_of(trial: TrialSpec, stop: Stop) -> bool:
    return (trial.number, trial.attempt) == (stop.number, stop.attempt)


def _device_is_lost(error: Exception) -> bool:
    # After such an error every further call on the GPU fails: the worker must be replaced.
    return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)


def _failed(trial: TrialSpec, error: Exception) -> Failed:
    kind = FailureKind.CRASHED
    if isinstance(error, DivergedError):
        kind = FailureKind.DIVERGED
    elif is_out_of_memory(error):
        kind = FailureKind.OOM
    message = f"{type(error).__name__}: {error}" if kind is FailureKind.CRASHED else str(error)
    return Failed(
        number=trial.number,
        attempt=trial.attempt,
        kind=kind,
        message=" ".join(message.split()),
        traceback="".join(traceback.format_exception(error)),
    )
