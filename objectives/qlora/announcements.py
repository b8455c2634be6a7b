"""Events that inform the driver about a trial: its start, curve, measurements and end."""

import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from loratory.objectives.events import AdapterFiles, Failed, Finished, Progressed, Ready, Reported, Started
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.memory.device import device_name, versions
from loratory.objectives.qlora.scoring.evaluation import Evaluation
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.phases import DivergedError, Finishing, PhaseError
from loratory.objectives.qlora.trial.plan import ORDER
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.records import FailureKind, Resources
from loratory.spaces.trial import TrialSpec


class Announcements:
    """Makes the events of trials. Each point of a curve and of the grid is announced once."""

    def __init__(self, base: Base, checkpoints: CheckpointClock) -> None:
        """Keep the facts that events contain besides those of the trial.

        Args:
            base: named in the files of adapters.
            checkpoints: receives the duration of each checkpoint.
        """
        self._base, self._checkpoints = base, checkpoints
        self._device = device_name(base.device)

    def ready(self, engine: Engine, hashes: dict[str, str]) -> Ready:
        """Announce that the worker holds its base, and how it is laid out.

        Args:
            engine: slots and evaluator over the base.
            hashes: content hashes of what was loaded.
        """
        return Ready(
            device=self._device,
            compute_dtype=str(self._base.compute_dtype).removeprefix("torch."),
            capacity=engine.capacity,
            versions=versions(self._base.format.packages),
            hashes=hashes,
            notes=engine.notes,
            checks=engine.checks,
            arrangement=engine.arrangement,
            trial_limit_bytes=engine.trial_limit_bytes,
        )

    def started(self, trial: Trial) -> Started:
        """Return the event of a trial that has begun or continues."""
        key, attempt = trial.key
        return Started(
            key=key,
            attempt=attempt,
            optimizer_steps=trial.plan.optimizer_steps,
            warmup_steps=trial.plan.warmup_steps,
            order=ORDER,
        )

    def curve(self, trial: Trial) -> Iterator[Progressed]:
        """Yield an event with the points of the curve not announced yet, if there are any."""
        if points := trial.take_points():
            key, attempt = trial.key
            yield Progressed(key=key, attempt=attempt, points=points)

    def measured(self, trial: Trial) -> Iterator[Reported]:
        """Yield an event for every grid point that the measurement under way covers."""
        key, attempt = trial.key
        while (measurement := trial.next_grid_point()) is not None:
            yield Reported(
                key=key,
                attempt=attempt,
                measurement=measurement,
                resources=self.resources(trial),
                checkpoint=self._checkpoint(trial),
            )

    def making_files(self, trial: Trial) -> Callable[[], AdapterFiles]:
        """Return a function that makes the files of a trial's best matrices."""
        assert trial.best is not None  # training is over only after a measurement
        return partial(
            trial.adapter.files, trial.best, base_name=self._base.published_name, revision=self._base.revision
        )

    def finished(self, trial: Trial, evaluation: Evaluation) -> Finished:
        """Return the event of a finished trial, with the scores of its best matrices on eval.select."""
        if not isinstance(trial.phase, Finishing) or trial.best_evaluation is None:
            raise PhaseError(f"trial {trial.spec.key} must be scored to finish, is {trial.phase}")
        key, attempt = trial.key
        return Finished(
            key=key,
            attempt=attempt,
            reason=trial.phase.reason,
            best_step=trial.best_evaluation.step,
            scores=evaluation.scores,
            predictions=evaluation.predictions,
            adapter=trial.phase.files.result(),
            resources=self.resources(trial),
        )

    def resources(self, trial: Trial) -> Resources:
        """Return the time and memory that a trial has used so far."""
        return Resources(
            device=self._device,
            pack_size=trial.progress.pack_size,
            gpu_seconds_attributed=trial.progress.device_seconds,
            peak_memory_bytes_pack=trial.progress.peak_memory_bytes,
        )

    def _checkpoint(self, trial: Trial) -> bytes | None:
        if not trial.wants_checkpoint:
            return None
        began = time.perf_counter()
        content = trial.checkpoint()
        self._checkpoints.took(time.perf_counter() - began)
        return content


def failed_event(spec: TrialSpec, error: Exception) -> Failed:
    """Return the event of an attempt that ended with an exception."""
    kind = FailureKind.CRASHED
    if isinstance(error, DivergedError):
        kind = FailureKind.DIVERGED
    elif is_out_of_memory(error):
        kind = FailureKind.OOM
    message = f"{type(error).__name__}: {error}" if kind is FailureKind.CRASHED else str(error)
    return Failed(
        key=spec.key,
        attempt=spec.attempt,
        kind=kind,
        message=" ".join(message.split()),
        traceback="".join(traceback.format_exception(error)),
    )
