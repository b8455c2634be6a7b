"""One trial on a worker: its phase, the data of that phase, and the moves between phases.

Only methods of `Trial` change a trial. Each is legal in the phases that it names, and an error in others.
Slots, evaluator and events follow the phase.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from loratory.objectives.data.prepared import Example
from loratory.objectives.events import AdapterFiles
from loratory.objectives.packing.batch import OptimizerBatch
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.adapters.adapter import Adapter
from loratory.objectives.qlora.trial.checkpoint import Checkpoint, checkpoint_bytes
from loratory.objectives.qlora.trial.phases import (
    DivergedError,
    Ending,
    Finishing,
    Judging,
    Over,
    Phase,
    PhaseError,
    Snapshot,
    Training,
    Waiting,
)
from loratory.objectives.qlora.trial.plan import Plan
from loratory.objectives.qlora.trial.progress import Progress
from loratory.objectives.records import CurvePoint, Measurement
from loratory.objectives.stopping import Evaluated, StoppingRule, best
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import TrialSpec

_P = TypeVar("_P")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The rules that select the best measurement and stop a trial.

    Attributes:
        metric: name of the study's metric.
        direction: direction in which the metric improves.
        rule: early stopping.
    """

    metric: str
    direction: Direction
    rule: StoppingRule


@dataclass(kw_only=True, eq=False)
class Trial:
    """A trial on a worker.

    Attributes:
        spec: hyperparameters and identity of the trial.
        plan: schedule of batches, learning rates and evaluations.
        adapter: configuration, and names and shapes of the matrices (on the meta device).
        selection: rules for the best measurement and early stopping.
        phase: current phase.
        progress: progress of training.
        measuring: the measurement under way; None if there is none.
        best: the matrices of the best measurement; None before the first.
    """

    spec: TrialSpec
    plan: Plan
    adapter: Adapter
    selection: Selection
    phase: Phase
    progress: Progress = field(default_factory=Progress)
    measuring: Snapshot | None = None
    best: AdapterState | None = None
    _points: list[CurvePoint] = field(default_factory=list)
    _points_taken_at: float = 0.0
    _entered: bool = False
    _began_at: float = field(default_factory=time.perf_counter)

    @property
    def key(self) -> tuple[str, int]:
        """Key and attempt of the trial."""
        return self.spec.key, self.spec.attempt

    @property
    def trained_out(self) -> bool:
        """True if every update is made."""
        return self.progress.optimizer_steps == self.plan.optimizer_steps

    @property
    def evaluation_due(self) -> bool:
        """True if the last update is at a point of the grid that is not reported yet."""
        return self.progress.reported < self.plan.evaluations_due(self.progress.optimizer_steps)

    @property
    def trains(self) -> bool:
        """True if the next update may be made now."""
        return isinstance(self.phase, Training) and not self.trained_out and not self.evaluation_due

    @property
    def measured_before(self) -> bool:
        """True if the update just made was measured before a restart, and not all of its points reported."""
        return self.progress.metrics is not None

    @property
    def wants_measurement(self) -> bool:
        """True if a measurement is due and none is under way."""
        return isinstance(self.phase, Training) and self.evaluation_due and self.measuring is None

    @property
    def best_evaluation(self) -> Evaluated | None:
        """The best measurement so far, and the first of equal ones; None before any."""
        return best(self.progress.history, self.selection.direction)

    # Into a slot and out of it

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint. Legal in Waiting; -> Ending if training was over at the checkpoint."""
        self._expect(Waiting, "go on from a checkpoint")
        self.progress, self.best = checkpoint.progress, checkpoint.best
        self._began_at = time.perf_counter() - self.progress.elapsed_seconds
        self.phase = Waiting(checkpoint.state)
        if self.progress.history and (reason := self._why_over()) is not None:
            self._end(reason)

    @property
    def has_begun(self) -> bool:
        """True if the trial ever held a slot on this worker."""
        return self._entered

    def enter(self, slot: int) -> None:
        """Take a slot. Waiting -> Training."""
        self._expect(Waiting, "enter a slot")
        self._entered = True
        self._began_at = time.perf_counter() - self.progress.elapsed_seconds
        self.phase = Training(slot)

    def suspend(self, state: SlotState) -> None:
        """Leave the slot, to continue later from `state`. Training -> Waiting."""
        self._expect(Training, "be suspended")
        self.phase = Waiting(state)

    # Updates

    def next_batch(self, train: Sequence[Example]) -> OptimizerBatch:
        """Return the optimiser batch under way, or the next one if there is none. Legal in Training."""
        training = self._expect(Training, "take a batch")
        if training.batch is None:
            step = self.progress.optimizer_steps
            training.batch = OptimizerBatch(
                [train[index] for index in self.plan.batch(step)],
                seed=self.spec.seed,
                step=step,
                dropout=self.spec.training.dropout > 0,
            )
        return training.batch

    @property
    def slot(self) -> int:
        """The number of its slot. Legal in Training."""
        return self._expect(Training, "have a slot").slot

    @property
    def batch(self) -> OptimizerBatch | None:
        """The optimiser batch under way; None if there is none."""
        return self.phase.batch if isinstance(self.phase, Training) else None

    @property
    def batch_done(self) -> bool:
        """True if every example of the batch under way has passed: its update can be made."""
        return self.batch is not None and self.batch.done

    def rewind_batch(self) -> None:
        """Begin the batch under way again, if there is one: what has passed was lost."""
        if self.batch is not None:
            self.batch.rewind()

    def count_update(self) -> None:
        """Count the batch under way as an update. Legal in Training, if the batch is complete."""
        training = self._expect(Training, "make an update")
        if training.batch is None or not training.batch.done or self.trained_out:
            raise PhaseError(f"{self._name} must have a batch that is done to make an update")
        self.progress.optimizer_steps += 1
        self.progress.examples_seen += len(training.batch.examples)
        self.progress.tokens_seen += training.batch.tokens
        self.progress.metrics = None
        training.batch = None

    def spend(self, device_seconds: float, *, peak_memory_bytes: int) -> None:
        """Add to the trial's share of device time, and keep the larger peak of memory."""
        progress = self.progress
        progress.device_seconds += device_seconds
        progress.elapsed_seconds = time.perf_counter() - self._began_at
        progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak_memory_bytes)

    def share_pass(self, trials: int) -> None:
        """Note a pass of `trials` trials, this one included."""
        self.progress.pack_size = max(self.progress.pack_size, trials)

    # The curve

    def count_skipped(self) -> int:
        """Count an update that overflow skipped (fp16), and return the number skipped in a row."""
        self.progress.skipped_in_a_row += 1
        return self.progress.skipped_in_a_row

    def add_point(self, point: CurvePoint) -> None:
        """Add an update to the curve."""
        self.progress.skipped_in_a_row = 0
        self._points.append(point)

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """Points of the curve that were not taken yet, without taking them."""
        return tuple(self._points)

    @property
    def seconds_since_points(self) -> float:
        """Seconds since points of the curve were last taken."""
        return time.perf_counter() - self._points_taken_at

    def take_points(self) -> tuple[CurvePoint, ...]:
        """Return the points of the curve that were not taken yet, each once."""
        points, self._points = tuple(self._points), []
        self._points_taken_at = time.perf_counter()
        return points

    # Measurements

    def begin_measurement(self, state: Future[SlotState], *, checkpoint: bool) -> None:
        """Note that a copy of the adapter is being measured. Legal in Training, at a point of the grid.

        Its grid points count as reported from now on. Training -> Judging if all updates are made, which
        frees the slot.
        """
        self._expect(Training, "be measured")
        if not self.wants_measurement:
            raise PhaseError(f"{self._name} must stand at a point of the grid that nobody measures")
        self.measuring = Snapshot.of(self.progress, state, checkpoint=checkpoint)
        self.progress.reported = self.plan.evaluations_due(self.progress.optimizer_steps)
        if self.trained_out:
            self.phase = Judging(None)

    def measured(self, metrics: dict[str, float]) -> None:
        """Note the result of the measurement under way, and keep the matrices where it is the best yet.

        Args:
            metrics: metrics on eval.dev by name, all finite.
        """
        snapshot, before = self._measurement(), self.best_evaluation
        evaluated = Evaluated(snapshot.progress.reported + 1, metrics[self.selection.metric])
        self.progress.history = (*self.progress.history, evaluated)
        snapshot.progress.metrics, snapshot.progress.history = metrics, self.progress.history
        if self.best_evaluation != before:
            self.best = snapshot.state.result().matrices

    def next_grid_point(self) -> Measurement | None:
        """Return the next grid point of the measurement under way; None after the last.

        If a trial makes fewer updates than there are points, several share a measurement; each is reported.
        """
        progress = self._measurement().progress
        if progress.reported >= self.plan.evaluations_due(progress.optimizer_steps):
            return None
        if progress.metrics is None:
            raise PhaseError(f"{self._name} must be measured before its points are reported")
        progress.reported += 1
        progress.device_seconds = self.progress.device_seconds
        return Measurement(
            step=progress.reported,
            optimizer_steps=progress.optimizer_steps,
            examples_seen=progress.examples_seen,
            tokens_seen=progress.tokens_seen,
            elapsed_seconds=progress.elapsed_seconds,
            metrics=dict(progress.metrics),
        )

    @property
    def wants_checkpoint(self) -> bool:
        """True if the measurement under way is to bring a checkpoint."""
        return self._measurement().checkpoint

    def checkpoint(self) -> bytes:
        """Return a checkpoint at the measurement under way, as bytes; a trial continues exactly from it."""
        snapshot = self._measurement()
        state = snapshot.state.result()
        return checkpoint_bytes(
            self.spec, Checkpoint(progress=snapshot.progress, best=self.best, state=state)
        )

    def decide(self) -> None:
        """End the measurement under way, after all its points are reported: train on, or end.

        Waiting, Training, Judging -> Ending if the schedule or the stopping rule ends training. Either takes
        precedence over a divergence, since the measurement precedes the diverged update.

        Raises:
            DivergedError: a later update diverged, and the measurement does not end training.
        """
        self._measurement()
        self.measuring = None
        if (reason := self._why_over()) is not None:
            self._end(reason)
        elif isinstance(self.phase, Judging):
            raise self.phase.diverged or PhaseError(f"{self._name} must end after its last measurement")

    def diverge(self, error: DivergedError) -> bool:
        """Note that an update diverged; return True if the trial must fail now.

        Waiting, Training -> Judging, if a measurement is under way. After training the error is ignored.
        """
        match self.phase:
            case Waiting() | Training() if self.measuring is None:
                return True
            case Waiting() | Training() | Judging(None):
                self.phase = Judging(error)
        return False

    # The end

    def hand_over(self, files: Future[AdapterFiles]) -> None:
        """Note that the best matrices are being scored and written as files. Ending -> Finishing."""
        ending = self._expect(Ending, "be scored")
        self.phase = Finishing(ending.reason, files)

    def close(self) -> None:
        """End the trial after it finished, failed or was stopped. Any phase -> Over."""
        if isinstance(self.phase, Over):
            raise PhaseError(f"{self._name} must not end twice")
        self.measuring = None
        self.phase = Over()

    def _why_over(self) -> str | None:
        """Return the reason why training is over; None if it is not."""
        if self.trained_out and not self.evaluation_due:
            return "trained to the end"
        return self.selection.rule.why_stop(self.progress.history, self.selection.direction)

    def _end(self, reason: str) -> None:
        assert self.best is not None  # a measurement came before
        self.phase = Ending(reason, self.best)

    def _measurement(self) -> Snapshot:
        if self.measuring is None or isinstance(self.phase, Ending | Finishing | Over):
            raise PhaseError(f"{self._name} must have a measurement under way")
        return self.measuring

    def _expect(self, kind: type[_P], move: str) -> _P:
        if not isinstance(self.phase, kind):
            raise PhaseError(f"{self._name} must be {kind.__name__} to {move}")
        return self.phase

    @property
    def _name(self) -> str:
        return f"trial {self.spec.key} ({type(self.phase).__name__})"
