"""One trial on a worker: how far it is, what it keeps, and its checkpoint."""

import copy
import io
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.events import AdapterFiles, Start
from loratory.objectives.packing.batch import OptimizerBatch as Batch
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.adapters.adapter import Adapter, new_adapter
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.trial.plan import Plan
from loratory.objectives.qlora.trial.progress import Progress, Snapshot
from loratory.objectives.records import CurvePoint
from loratory.spaces.errors import LoratoryError
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import TrialSpec

_CHECKPOINT_VERSION = 3


class DivergedError(LoratoryError):
    """A loss, a gradient or a metric is no longer a number."""


@dataclass(kw_only=True)
class TrialRun:
    """A trial from the moment in which a worker has it.

    Attributes:
        trial: what it trains.
        plan: its schedule.
        adapter: its configuration, and the matrices that it begins with; once it has a slot their names and
            shapes alone.
        progress: how far its training is.
        state: what its slot begins from, while it has none.
        slot: where it trains; None before and after.
        batch: its optimiser batch that is under way.
        snapshot: what is being evaluated; None where nothing is.
        best: the matrices at `progress.best_step`.
        files: of `best`, once training is over.
        reason: why it ended, while its best matrices wait for their final scores.
        diverged: what went wrong in a step after the one that is being evaluated.
        points: of the curve, not sent yet.
        points_sent: when the last were.
        started: when it took its slot.
    """

    trial: TrialSpec
    plan: Plan
    adapter: Adapter
    progress: Progress = field(default_factory=Progress)
    state: SlotState | None = None
    slot: int | None = None
    batch: Batch | None = None
    snapshot: Snapshot | None = None
    best: AdapterState | None = None
    files: Future[AdapterFiles] | None = None
    reason: str | None = None
    diverged: DivergedError | None = None
    points: list[CurvePoint] = field(default_factory=list)
    points_sent: float = 0.0
    started: float = 0.0

    @property
    def key(self) -> tuple[int, int]:
        """Number and attempt."""
        return self.trial.number, self.trial.attempt

    @property
    def trained_out(self) -> bool:
        """Whether every update is made."""
        return self.progress.optimizer_steps == self.plan.optimizer_steps

    @property
    def evaluation_due(self) -> bool:
        """Whether the update just made is one that the grid measures."""
        return self.progress.reported < self.plan.evaluations_due(self.progress.optimizer_steps)

    @property
    def trains(self) -> bool:
        """Whether its next update may be made now."""
        return self.slot is not None and not self.trained_out and not self.evaluation_due

    def why_over(self, *, patience: int | None) -> str | None:
        """Why it trains no further; None as long as it does.

        Args:
            patience: evaluations without a better value that end it; None for any number.
        """
        if self.trained_out and not self.evaluation_due:
            return "trained to the end"
        if patience is not None and self.progress.stalled >= patience:
            return f"early stopping: no better since evaluation {self.progress.best_step}"
        return None

    def next_batch(self, train: Sequence[Example]) -> Batch:
        """The batch that is under way, or the next one."""
        if self.batch is None:
            step = self.progress.optimizer_steps
            self.batch = Batch(
                [train[index] for index in self.plan.batch(step)],
                seed=self.trial.seed,
                step=step,
                dropout=self.trial.training.dropout > 0,
            )
        return self.batch

    def count_update(self) -> None:
        """The batch has become an update."""
        assert self.batch is not None
        self.progress.optimizer_steps += 1
        self.progress.examples_seen += len(self.batch.examples)
        self.progress.tokens_seen += self.batch.tokens
        self.progress.metrics = None
        self.batch = None

    def take_snapshot(self, state: Future[SlotState], *, checkpoint: bool) -> None:
        """Note what is being evaluated. The grid points that it measures count as reported from now on."""
        self.snapshot = Snapshot(progress=copy.copy(self.progress), state=state, checkpoint=checkpoint)
        self.progress.reported = self.plan.evaluations_due(self.progress.optimizer_steps)

    def keep_measurement(self, metrics: dict[str, float], *, metric: str, direction: Direction) -> bool:
        """Note what was measured of the snapshot.

        Args:
            metrics: values on eval.dev, all finite.
            metric: the study's.
            direction: which way it is better; equal is not better.

        Returns:
            Whether it is the best yet.
        """
        assert self.snapshot is not None
        snapshot, value = self.snapshot.progress, metrics[metric]
        snapshot.metrics = metrics
        snapshot.best_step, snapshot.best_value = self.progress.best_step, self.progress.best_value
        sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
        better = snapshot.best_value is None or sign * value > sign * snapshot.best_value
        if better:
            snapshot.best_step, snapshot.best_value = snapshot.reported + 1, value
            self.best = self.snapshot.state.result().matrices
        self.progress.stalled = snapshot.stalled = 0 if better else self.progress.stalled + 1
        self.progress.best_step, self.progress.best_value = snapshot.best_step, snapshot.best_value
        return better

    def checkpoint(self) -> bytes:
        """Everything that a fresh slot needs to go on exactly from the snapshot."""
        assert self.snapshot is not None
        state = self.snapshot.state.result()
        buffer = io.BytesIO()
        # One object for equal matrices: `best` costs nothing while it is also the last.
        content = {
            "version": _CHECKPOINT_VERSION,
            "trial": _identity(self.trial),
            "progress": asdict(self.snapshot.progress),
            "best": self.best,
            "matrices": state.matrices,
            "moments": state.moments,
            "scaler": state.scaler,
        }
        torch.save(content, buffer)
        return buffer.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint.

        Raises:
            LoratoryError: it is another trial's, or of another version.
        """
        content: dict[str, Any] = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
        if content["version"] != _CHECKPOINT_VERSION or content["trial"] != _identity(self.trial):
            raise LoratoryError(f"checkpoint must be of trial {self.trial.number} as it is now, is another's")
        self.progress = Progress(**content["progress"])
        self.best = content["best"]
        self.state = SlotState(
            matrices=content["matrices"], moments=content["moments"], scaler=content["scaler"]
        )


def new_run(start: Start, *, architecture: Architecture, train_examples: int, evaluations: int) -> TrialRun:
    """A trial before its first step, or where its checkpoint left it.

    Raises:
        LoratoryError: the checkpoint is another trial's.
    """
    trial = start.trial
    targets = architecture.targets(trial.training.target_modules)
    adapter = new_adapter(
        architecture.linear_layers, training=trial.training, targets=targets, seed=trial.seed
    )
    plan = Plan(
        training=trial.training, seed=trial.seed, train_examples=train_examples, evaluations=evaluations
    )
    run = TrialRun(trial=trial, plan=plan, adapter=adapter)
    if start.checkpoint is not None:
        run.restore(start.checkpoint)
    return run


def _identity(trial: TrialSpec) -> dict[str, Any]:
    # Without the attempt: a retry goes on from the checkpoint of the one before.
    return {"number": trial.number, "seed": trial.seed, "training": trial.training.model_dump_json()}
