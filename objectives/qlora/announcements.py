"""What the driver is told of a trial on its way: that it began, its curve, its measurements, its end."""

import time
from collections.abc import Callable
from functools import partial

from loratory.objectives.events import AdapterFiles, Finished, Progressed, Reported, Started
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.memory.device import device_name
from loratory.objectives.qlora.scoring.evaluation import Evaluation
from loratory.objectives.qlora.trial.checkpointing import CheckpointClock
from loratory.objectives.qlora.trial.plan import ORDER
from loratory.objectives.qlora.trial.progress import measurement_of
from loratory.objectives.qlora.trial.trial import TrialRun
from loratory.objectives.records import Resources


class Announcements:
    """Makes events of what trials have to say; what was said once is not said again."""

    def __init__(self, base: Base, checkpoints: CheckpointClock) -> None:
        """Nothing was said yet.

        Args:
            base: adapters name it.
            checkpoints: learns what a checkpoint costs.
        """
        self._base, self._checkpoints = base, checkpoints
        self._device = device_name(base.device)

    def started(self, run: TrialRun) -> Started:
        """It has a slot for the first time."""
        key, attempt = run.key
        plan = run.plan
        return Started(
            key=key,
            attempt=attempt,
            optimizer_steps=plan.optimizer_steps,
            warmup_steps=plan.warmup_steps,
            order=ORDER,
        )

    def curve(self, run: TrialRun) -> list[Progressed]:
        """The points that were not sent yet, if there are any."""
        points, run.points = tuple(run.points), []
        run.points_sent = time.perf_counter()
        key, attempt = run.key
        return [Progressed(key=key, attempt=attempt, points=points)] if points else []

    def measured(self, run: TrialRun) -> list[Reported]:
        """Every point of the grid that the snapshot measures; the snapshot is over with it."""
        assert run.snapshot is not None
        progress, events = run.snapshot.progress, []
        progress.device_seconds = run.progress.device_seconds
        while progress.reported < run.plan.evaluations_due(progress.optimizer_steps):
            key, attempt = run.key
            measurement = measurement_of(progress)
            events.append(
                Reported(
                    key=key,
                    attempt=attempt,
                    measurement=measurement,
                    resources=self.resources(run),
                    checkpoint=self._checkpoint(run),
                )
            )
        run.snapshot = None
        return events

    def making_files(self, run: TrialRun) -> Callable[[], AdapterFiles]:
        """What to call for the files of its best matrices."""
        assert run.best is not None
        return partial(
            run.adapter.files, run.best, base_name=self._base.published_name, revision=self._base.revision
        )

    def finished(self, run: TrialRun, evaluation: Evaluation) -> Finished:
        """It is over, and its best matrices are scored on eval.select."""
        assert run.files is not None and run.reason is not None
        key, attempt = run.key
        return Finished(
            key=key,
            attempt=attempt,
            reason=run.reason,
            best_step=run.progress.best_step,
            scores=evaluation.scores,
            predictions=evaluation.predictions,
            adapter=run.files.result(),
            resources=self.resources(run),
        )

    def _checkpoint(self, run: TrialRun) -> bytes | None:
        if run.snapshot is None or not run.snapshot.checkpoint:
            return None
        began = time.perf_counter()
        content = run.checkpoint()
        self._checkpoints.took(time.perf_counter() - began)
        return content

    def resources(self, run: TrialRun) -> Resources:
        """What it took so far."""
        return Resources(
            device=self._device,
            pack_size=run.progress.pack_size,
            gpu_seconds_attributed=run.progress.device_seconds,
            peak_memory_bytes_pack=run.progress.peak_memory_bytes,
        )
