"""Records and files of all trials, written in an order that is safe in a crash."""

import hashlib
import math
from datetime import UTC, datetime

from loratory.objectives.events import Finished, Progressed, Ready, Reported, Scored, Start, Started
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
from loratory.objectives.study_folder import ADAPTER_WEIGHTS, StudyFolder, write_atomically
from loratory.spaces.trial import TrialSpec


class TrialLedger:
    """The trials of one study, in memory and on disk. Files are written before the record that names them."""

    def __init__(self, folder: StudyFolder, *, study_uuid: str, provenance: Provenance) -> None:
        self._folder = folder
        self._uuid = study_uuid
        self._provenance = provenance
        self.records = {record.number: record for record in folder.read_records()}

    def begin(self, trial: TrialSpec, worker: Ready | None = None) -> Start:
        """Record the begin of an attempt, from the last checkpoint or from the start.

        Measurements after the checkpoint stay until they are repeated, because Optuna has them too.

        Args:
            trial: the attempt.
            worker: its worker, if known.
        """
        step, checkpoint = self._checkpoint(trial.number)
        provenance = self._provenance.model_copy(update={"seed": trial.seed, **_worker_facts(worker)})
        known = self.records.get(trial.number) or TrialRecord(
            study=self._uuid, number=trial.number, params=trial.params, provenance=provenance
        )
        reached = [m.optimizer_steps for m in known.measurements if m.step <= step]
        self._folder.cut_curve(trial.number, after_optimizer_step=reached[-1] if reached else 0)
        self._write(known, attempt=trial.attempt, error=None, provenance=provenance)
        return Start(trial=trial, checkpoint=checkpoint)

    def started(self, event: Started) -> None:
        """Record that a worker has started the trial."""
        record = self.records[event.number]
        self._write(record, started_at=record.started_at or _now())

    def progressed(self, event: Progressed) -> None:
        """Append points to the curve."""
        self._folder.append_curve(event.number, event.points)

    def measured(self, event: Reported) -> None:
        """Add a measurement; it replaces that of an earlier attempt."""
        record = self.records[event.number]
        others = [m for m in record.measurements if m.step != event.measurement.step]
        merged = sorted([*others, event.measurement], key=lambda measurement: measurement.step)
        self._write(record, measurements=merged, resources=event.resources)

    def cut_curve(self, number: int) -> None:
        """Remove steps after the last evaluation, made while the trial was scored."""
        measurements, curve = self.records[number].measurements, self._folder.read_curve(number)
        if measurements and curve and curve[-1].optimizer_step > measurements[-1].optimizer_steps:
            self._folder.cut_curve(number, after_optimizer_step=measurements[-1].optimizer_steps)

    def keep_checkpoint(self, event: Reported) -> None:
        """Write the checkpoint of an evaluation and remove older ones.

        An evaluation without a checkpoint keeps the older one. A retry resumes from there, and its
        measurements replace the existing ones.
        """
        if event.checkpoint is None:
            return
        path = self._folder.trial(event.number) / f"checkpoint-{event.measurement.step:04d}.bin"
        write_atomically(path, event.checkpoint)
        for older in path.parent.glob("checkpoint-*.bin"):
            if older < path:
                older.unlink()

    def complete(self, event: Finished, *, value: float) -> TrialRecord:
        """Write adapter, scores and predictions, then record the trial as COMPLETE."""
        folder = self._folder.trial(event.number)
        self.cut_curve(event.number)
        for name, data in event.adapter.items():
            write_atomically(self._folder.adapter(event.number) / name, data)
        write_atomically(folder / "scores.npz", event.scores.to_bytes())
        write_atomically(folder / "predictions.jsonl", predictions_to_bytes(event.predictions))
        return self._finish(
            event.number,
            TrialState.COMPLETE,
            event.reason,
            values=[value],
            metrics=event.scores.aggregate,
            adapter=_adapter_record(event),
            resources=event.resources,
        )

    def took(self, number: int, resources: Resources | None) -> None:
        """Record the resources of an attempt that ended without a score, if known."""
        if resources is not None:
            self._write(self.records[number], resources=resources)

    def prune(self, number: int, reason: str, error: TrialError | None = None) -> TrialRecord:
        """Record the trial as PRUNED."""
        return self._finish(number, TrialState.PRUNED, reason, error=error)

    def infeasible(self, number: int, error: TrialError) -> TrialRecord:
        """Record the trial as INFEASIBLE: it fits no worker."""
        return self._finish(number, TrialState.INFEASIBLE, f"out of memory: {error.message}", error=error)

    def attempt_failed(self, number: int, error: TrialError, *, final: bool) -> TrialRecord:
        """Record a failed attempt; after the last one the trial is FAIL."""
        record = self.records[number]
        failures = [*record.failures, error]
        if final:
            return self._finish(number, TrialState.FAIL, error.message, error=error, failures=failures)
        return self._write(record, error=error, failures=failures)

    def score(self, event: Scored, *, number: int | None) -> ScoreRecord:
        """Write a scoring outside any trial; metrics of the record omit values that are not finite."""
        folder = self._folder.path / event.key
        write_atomically(folder / "scores.npz", event.scores.to_bytes())
        write_atomically(folder / "predictions.jsonl", predictions_to_bytes(event.predictions))
        record = ScoreRecord(
            study=self._uuid,
            key=event.key,
            split=event.split,
            number=number,
            metrics={name: value for name, value in event.scores.aggregate.items() if math.isfinite(value)},
            resources=event.resources,
            provenance=self._provenance,
        )
        write_atomically(folder / "record.json", record.model_dump_json(indent=1).encode())
        return record

    def _finish(self, number: int, state: TrialState, reason: str, **changes: object) -> TrialRecord:
        record = self._write(self.records[number], state=state, reason=reason, finished_at=_now(), **changes)
        for path in self._folder.trial(number).glob("checkpoint-*.bin"):
            path.unlink()
        return record

    def _write(self, record: TrialRecord, **changes: object) -> TrialRecord:
        # Validated again, so that every written record can be read.
        record = TrialRecord.model_validate(dict(record) | changes)
        self._folder.write_record(record)
        self.records[record.number] = record
        return record

    def _checkpoint(self, number: int) -> tuple[int, bytes | None]:
        paths = sorted(self._folder.trial(number).glob("checkpoint-*.bin"))
        if not paths:
            return 0, None
        return int(paths[-1].stem.removeprefix("checkpoint-")), paths[-1].read_bytes()


def _worker_facts(worker: Ready | None) -> dict[str, object]:
    return {"versions": worker.versions, "compute_dtype": worker.compute_dtype} if worker else {}


def _adapter_record(event: Finished) -> AdapterRecord | None:
    weights = event.adapter.get(ADAPTER_WEIGHTS)
    if weights is None:
        return None
    return AdapterRecord(
        sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights), step=event.best_step
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
