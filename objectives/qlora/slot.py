"""A trial's place on the base: everything that belongs to it alone, and its checkpoint."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch

from loratory.objectives.qlora.adapter import Adapter, AdapterState
from loratory.objectives.qlora.base import Base
from loratory.objectives.qlora.plan import Plan
from loratory.objectives.records import Measurement, Resources
from loratory.spaces.errors import LoratoryError
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import TrialSpec

_CHECKPOINT_VERSION = 2


@dataclass(kw_only=True)
class Progress:
    """How far a trial is; plain values, all of them in its checkpoint.

    Attributes:
        optimizer_steps: updates made.
        reported: points of the nominal grid reported.
        examples_seen: training examples seen.
        tokens_seen: training tokens seen.
        seconds: training and evaluation time.
        peak_memory_bytes: most memory held.
        skipped_in_a_row: updates left out one after the other for an overflow (fp16).
        micro_batch_size: examples a pass; halved where memory runs out, which changes no result but for the
            dropout masks.
        metrics: what was measured at this update; None until it is.
        best_step: point of the grid with the best value; 0 before the first.
        best_value: that value.
        stalled: evaluations since then.
    """

    optimizer_steps: int = 0
    reported: int = 0
    examples_seen: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    skipped_in_a_row: int = 0
    micro_batch_size: int
    metrics: dict[str, float] | None = None
    best_step: int = 0
    best_value: float | None = None
    stalled: int = 0


@dataclass(kw_only=True)
class Slot:
    """One trial on the base.

    Attributes:
        trial: what it trains.
        plan: its schedule.
        adapter: its matrices in the base.
        optimizer: AdamW over them alone.
        scaler: loss scale for fp16; does nothing in other formats.
        progress: how far it is.
        current: the matrices as last measured.
        best: the matrices at `progress.best_step`; the same object as `current` where that is the last.
    """

    trial: TrialSpec
    plan: Plan
    adapter: Adapter
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress
    current: AdapterState | None = None
    best: AdapterState | None = None

    @property
    def reports_due(self) -> bool:
        """Whether the update just made is one that the grid measures."""
        return self.progress.reported < self.plan.evaluations_due(self.progress.optimizer_steps)

    @property
    def trained_out(self) -> bool:
        """Whether every point of the grid is reported."""
        return self.progress.reported == self.plan.evaluations

    def keep_measurement(self, metrics: dict[str, float], *, metric: str, direction: Direction) -> None:
        """Note what was measured now, and keep the matrices where they are the best yet.

        Args:
            metrics: values on eval.dev, all finite.
            metric: the study's.
            direction: which way it is better; equal is not better.
        """
        progress, value = self.progress, metrics[metric]
        progress.metrics = metrics
        self.current = self.adapter.state()
        sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
        if progress.best_value is None or sign * value > sign * progress.best_value:
            progress.best_step, progress.best_value, progress.stalled = progress.reported + 1, value, 0
            self.best = self.current
        else:
            progress.stalled += 1

    def measurement(self) -> Measurement:
        """The last measurement as the grid's next point, which counts as reported from now on."""
        progress = self.progress
        progress.reported += 1
        return Measurement(
            step=progress.reported,
            optimizer_steps=progress.optimizer_steps,
            examples_seen=progress.examples_seen,
            tokens_seen=progress.tokens_seen,
            elapsed_seconds=progress.seconds,
            metrics=dict(progress.metrics or {}),
        )

    def resources(self, device: str) -> Resources:
        """What the trial took so far."""
        return Resources(
            device=device,
            pack_size=1,
            gpu_seconds_attributed=self.progress.seconds,
            peak_memory_bytes_pack=self.progress.peak_memory_bytes,
        )

    def checkpoint(self) -> bytes:
        """Everything that a fresh slot needs to go on exactly from the last measurement."""
        buffer = io.BytesIO()
        # One object for equal matrices: `best` costs nothing while it is also the last.
        content = {
            "version": _CHECKPOINT_VERSION,
            "trial": _identity(self.trial),
            "progress": asdict(self.progress),
            "current": self.current,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
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
        self.current, self.best = content["current"], content["best"]
        self.adapter.load(content["current"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])


def open_slot(base: Base, trial: TrialSpec, *, plan: Plan, adapter: Adapter, micro_batch_size: int) -> Slot:
    """A slot at the beginning of its trial: AdamW with zero moments (Loshchilov and Hutter, 2019)."""
    optimizer = torch.optim.AdamW(
        adapter.parameters.values(),
        lr=trial.training.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=trial.training.weight_decay,
        fused=True,
    )
    scaler = torch.amp.GradScaler(base.device.type, enabled=base.compute_dtype is torch.float16)
    return Slot(
        trial=trial,
        plan=plan,
        adapter=adapter,
        optimizer=optimizer,
        scaler=scaler,
        progress=Progress(micro_batch_size=micro_batch_size),
    )


def _identity(trial: TrialSpec) -> dict[str, Any]:
    # Without the attempt: a retry goes on from the checkpoint of the one before.
    return {"number": trial.number, "seed": trial.seed, "training": trial.training.model_dump_json()}
