"""Records and files of all trials, written in an order that is safe in a crash."""

import hashlib
import math
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.events import Finished, Progressed, Ready, Reported, Scored, Split, Start, Started
from loratory.objectives.records import (
    AdapterRecord,
    Provenance,
    Resources,
    ScoreRecord,
    TrialError,
    TrialRecord,
    TrialState,
)
from loratory.objectives.scores import predictions_to_bytes
from loratory.objectives.study_folder import ADAPTER_WEIGHTS, PREDICTIONS, SCORES, StudyFolder
from loratory.search import attempts
from loratory.spaces.trial import TrialSpec


class TrialLedger:
    """The trials of one study, in memory and on disk. Files are written before the record that names them."""

    def __init__(
        self,
        folder: StudyFolder,
        *,
        study_uuid: str,
        provenance: Provenance,
        records: Iterable[TrialRecord] | None = None,
    ) -> None:
        """Take the trials of a study.

        Args:
            folder: the study folder.
            study_uuid: the study's UUID, for new records.
            provenance: facts for new records.
            records: the trials that are recorded already; null: those of the search.
        """
        self._folder = folder
        self._uuid = study_uuid
        self._provenance = provenance
        known = folder.read_records() if records is None else records
        self.records = {record.key: record for record in known}

    def begin(self, trial: TrialSpec, worker: Ready | None = None) -> Start:
        """Record the begin of an attempt, from the last checkpoint or from the start.

        Measurements after the checkpoint stay until they are repeated, because Optuna has them too.

        Args:
            trial: the attempt.
            worker: its worker, if known.
        """
        step, checkpoint = self._checkpoint(trial.key)
        provenance = self._provenance.model_copy(update={"seed": trial.seed, **_worker_facts(worker)})
        known = self.records.get(trial.key) or self._new_record(trial, provenance)
        reached = [m.optimizer_steps for m in known.measurements if m.step <= step]
        self._folder.cut_curve(trial.key, after_optimizer_step=reached[-1] if reached else 0)
        self._write(
            known,
            attempt=trial.attempt,
            state=TrialState.RUNNING,
            error=None,
            provenance=provenance,
            schedule=trial.training.schedule.value,
            attempts=attempts.begun(known, trial.attempt, _now()),
        )
        return Start(trial=trial, checkpoint=checkpoint)

    def started(self, event: Started) -> None:
        """A worker has the trial."""
        record = self.records[event.key]
        self._write(
            record,
            started_at=record.started_at or _now(),
            optimizer_steps=event.optimizer_steps,
            warmup_steps=event.warmup_steps,
            order=event.order,
        )

    def progressed(self, event: Progressed) -> None:
        """Add to the curve."""
        self._folder.append_curve(event.key, event.points)

    def measured(self, event: Reported) -> None:
        """Add a measurement, in the place of one that an earlier attempt made."""
        record = self.records[event.key]
        others = [m for m in record.measurements if m.step != event.measurement.step]
        merged = sorted([*others, event.measurement], key=lambda measurement: measurement.step)
        self._write(record, measurements=merged, resources=event.resources)

    def cut_curve(self, key: str) -> None:
        """Forget steps made after the last evaluation: the trial trained on while it was scored."""
        measurements, curve = self.records[key].measurements, self._folder.read_curve(key)
        if measurements and curve and curve[-1].optimizer_step > measurements[-1].optimizer_steps:
            self._folder.cut_curve(key, after_optimizer_step=measurements[-1].optimizer_steps)

    def keep_checkpoint(self, event: Reported) -> None:
        """Write the checkpoint of an evaluation and remove older ones.

        An evaluation without a checkpoint keeps the older one. A retry resumes from there, and its
        measurements replace the existing ones.
        """
        if event.checkpoint is None:
            return
        step = event.measurement.step
        write_atomically(self._folder.checkpoint(event.key, step), event.checkpoint)
        for earlier, path in self._folder.checkpoints(event.key):
            if earlier < step:
                path.unlink()

    def complete(self, event: Finished, *, value: float) -> TrialRecord:
        """Keep adapter, scores and predictions, then say that the trial is COMPLETE."""
        self.cut_curve(event.key)
        adapter = self._folder.adapter(event.key)
        contents = {adapter / name: data for name, data in event.adapter.items()}
        folder = self._folder.trial(event.key)
        hashes = _keep(folder, contents | _scores(folder, event))
        return self._finish(
            event.key,
            TrialState.COMPLETE,
            event.reason,
            values=[value],
            metrics=event.scores.aggregate,
            adapter=_adapter_record(event),
            files=hashes,
            resources=event.resources,
        )

    def remove_adapter(self, key: str, reason: str) -> None:
        """Delete the adapter of a COMPLETE trial; its record keeps the hash of the weights, and says why.

        The record comes first: `delete_removed_adapters` does what a crash leaves undone.
        """
        record = self.records[key]
        if record.adapter is None:
            raise LookupError(f"trial {key} must have an adapter to delete, has none")
        folder = self._folder.adapter(key).name
        files = {name: sha for name, sha in record.files.items() if not name.startswith(f"{folder}/")}
        adapter = record.adapter.model_copy(update={"removed": reason})
        self._write(record, adapter=adapter, files=files)
        shutil.rmtree(self._folder.adapter(key), ignore_errors=True)

    def delete_removed_adapters(self) -> None:
        """Delete files of adapters that their records say are deleted."""
        for record in self.records.values():
            if record.adapter is not None and record.adapter.removed is not None:
                shutil.rmtree(self._folder.adapter(record.key), ignore_errors=True)

    def took(self, key: str, resources: Resources | None) -> None:
        """Note what an attempt took that ends without a score, where it is known."""
        if resources is not None:
            self._write(self.records[key], resources=resources)

    def prune(self, key: str, reason: str, error: TrialError | None = None) -> TrialRecord:
        """Say that the trial is PRUNED."""
        return self._finish(key, TrialState.PRUNED, reason, error=error)

    def infeasible(self, key: str, error: TrialError) -> TrialRecord:
        """Say that the trial fits no worker."""
        return self._finish(key, TrialState.INFEASIBLE, f"out of memory: {error.message}", error=error)

    def reject(self, trial: TrialSpec, reason: str, *, excess: float) -> TrialRecord:
        """Say that the trial was predicted to fit no worker, without an attempt.

        Args:
            trial: the trial; its record, if any, has no measurement.
            reason: one line.
            excess: memory above what the largest worker has, as a share of that.
        """
        provenance = self._provenance.model_copy(update={"seed": trial.seed})
        unknown = self._new_record(trial, provenance).model_copy(update={"attempt": 0})
        self.records.setdefault(trial.key, unknown)
        return self._finish(trial.key, TrialState.INFEASIBLE, reason, memory_excess=excess)

    def attempt_failed(self, key: str, error: TrialError, *, final: bool) -> TrialRecord:
        """Note a failed attempt; the trial is FAIL if it was the last."""
        record = self.records[key]
        failures = [*record.failures, error]
        if final:
            return self._finish(key, TrialState.FAIL, error.message, error=error, failures=failures)
        ended = attempts.ended(record, error, _now())
        return self._write(record, error=error, failures=failures, attempts=ended)

    def score(self, event: Scored, trial: TrialRecord | None = None) -> ScoreRecord:
        """Keep a scoring outside any trial; what is not a number is left out of the record's metrics.

        The record of a trial that was scored on confirm has these metrics too.

        Args:
            event: the scores.
            trial: whose adapter was scored; null for the base.
        """
        folder = self._folder.score(event.key)
        hashes = _keep(folder, _scores(folder, event))
        finite = {name: value for name, value in event.scores.aggregate.items() if math.isfinite(value)}
        if event.split is Split.CONFIRM and trial is not None and trial.key in self.records:
            # Before the scoring's own record, which says that nothing of it is left to do.
            self._write(self.records[trial.key], confirm_metrics=finite)
        record = ScoreRecord(
            study=self._uuid,
            key=event.key,
            split=event.split,
            trial=trial.key if trial else None,
            number=trial.number if trial else None,
            metrics=finite,
            resources=event.resources,
            provenance=self._provenance,
            files=hashes,
            scored_at=_now(),
        )
        self._folder.write_score(record)
        return record

    def _new_record(self, trial: TrialSpec, provenance: Provenance) -> TrialRecord:
        return TrialRecord(
            study=self._uuid,
            key=trial.key,
            number=trial.number,
            params=trial.params,
            provenance=provenance,
        )

    def _finish(self, key: str, state: TrialState, reason: str, **changes: Any) -> TrialRecord:
        known, now = self.records[key], _now()
        ended = attempts.ended(known, changes.get("error"), now)
        record = self._write(known, state=state, reason=reason, finished_at=now, attempts=ended, **changes)
        for _, path in self._folder.checkpoints(key):
            path.unlink()
        return record

    def _write(self, record: TrialRecord, **changes: object) -> TrialRecord:
        # Validated again, so that every written record can be read.
        record = TrialRecord.model_validate(dict(record) | changes)
        self._folder.write_record(record)
        self.records[record.key] = record
        return record

    def _checkpoint(self, key: str) -> tuple[int, bytes | None]:
        checkpoints = self._folder.checkpoints(key)
        if not checkpoints:
            return 0, None
        step, path = checkpoints[-1]
        return step, path.read_bytes()


def _worker_facts(worker: Ready | None) -> dict[str, object]:
    if worker is None:
        return {}
    return {
        "versions": worker.versions,
        "compute_dtype": worker.compute_dtype,
        "checks": list(worker.checks),
        "arrangement": worker.arrangement,
    }


def _scores(folder: Path, event: Finished | Scored) -> dict[Path, bytes]:
    return {
        folder / SCORES: event.scores.to_bytes(),
        folder / PREDICTIONS: predictions_to_bytes(event.predictions),
    }


def _keep(folder: Path, contents: dict[Path, bytes]) -> dict[str, str]:
    """Write files, and return their SHA-256 by their path in a folder."""
    for path, data in contents.items():
        write_atomically(path, data)
    return {p.relative_to(folder).as_posix(): hashlib.sha256(d).hexdigest() for p, d in contents.items()}


def _adapter_record(event: Finished) -> AdapterRecord | None:
    weights = event.adapter.get(ADAPTER_WEIGHTS)
    if weights is None:
        return None
    return AdapterRecord(
        sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights), step=event.best_step
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
