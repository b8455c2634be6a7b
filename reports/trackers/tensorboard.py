"""Write TensorBoard event files, one folder per trial, in `tensorboard/` of the study folder."""

import shlex
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loratory.objectives.records import CurvePoint, Measurement, TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.trackers.conclusion import read_conclusion
from loratory.reports.trackers.marker import Marker, read_marker, write_marker
from loratory.reports.trackers.trial_files import CurveReader, merge
from loratory.spaces.study import StudySpec


class TensorBoardSink:
    """Writes event files that grow with a trial, and are rewritten completely when it is over.

    The first update of a trial in this process starts its file anew, so that no point is in it twice after
    a resume. A finished trial is written to another folder, which then replaces the old one.
    """

    name = "TensorBoard"
    marker = "tensorboard"

    def __init__(self, study: StudySpec, folder: StudyFolder) -> None:
        """Take a study and its folder; write nothing yet."""
        self._study = study
        self._folder = folder
        self._live: dict[str, _LiveFile] = {}

    def update(self, key: str) -> None:
        """Append the news of a running trial."""
        record = self._folder.read_record(key)
        live = self._live.get(key)
        if live is not None and live.attempt != record.attempt:
            self._live.pop(key).events.close()
            live = None
        if live is None:
            live = self._live[key] = _LiveFile(self._folder, key, attempt=record.attempt)
        live.append(record)

    def complete(self, key: str) -> None:
        """Write a finished trial, unless it is written already."""
        record = self._folder.read_record(key)
        path = self._folder.marker(key, self.marker)
        written, conclusion = read_marker(path), read_conclusion(self._folder, key)
        if written is not None and written.covers(record, conclusion.digest):
            return
        if key in self._live:
            self._live.pop(key).events.close()
        partial = self._folder.partial_events(key)
        shutil.rmtree(partial, ignore_errors=True)
        events = EventFile(partial)
        events.add_items(merge(self._folder.read_curve(key), record.measurements))
        events.add_result(record, self._study, verdict=conclusion.text)
        events.close()
        self._put(partial, self._folder.events(key))
        write_marker(
            path,
            Marker(
                id=key,
                mode="files",
                folder=self._folder.events(key).relative_to(self._folder.path).as_posix(),
                complete=True,
                state=record.state,
                attempt=record.attempt,
                conclusion=conclusion.digest,
            ),
        )

    def abort(self) -> None:
        """Do nothing: no call hangs here."""

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002
        """Close the files of running trials, and return how to start TensorBoard."""
        for live in self._live.values():
            live.events.close()
        shown = self._folder.tensorboard
        if not shown.is_dir():
            return []
        line = shlex.join(["tensorboard", "--logdir", str(shown)])
        return [f"TensorBoard (pip install tensorboard): {line}"]

    @staticmethod
    def _put(partial: Path, final: Path) -> None:
        shutil.rmtree(final, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(final)


class EventFile:
    """One event file, written directly on the caller's thread."""

    def __init__(self, path: Path) -> None:
        """Create the folder and the file."""
        from tensorboardX.event_file_writer import EventsWriter

        path.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(path / "events"))

    def add_items(self, items: Iterable[CurvePoint | Measurement]) -> None:
        """Add the scalars of optimiser steps (`train/`) and of evaluations (`dev/`, by grid index)."""
        for item in items:
            if isinstance(item, CurvePoint):
                self._add_scalars("train", item.model_dump(exclude={"optimizer_step"}), item.optimizer_step)
            else:
                self._add_scalars("dev", item.metrics, item.step)
        self._writer.flush()

    def add_result(self, record: TrialRecord, study: StudySpec, *, verdict: str = "") -> None:
        """Add hyperparameters, metrics on eval.select, state and reason; the verdict where there is one."""
        from tensorboardX.summary import hparams, text

        step = record.measurements[-1].step if record.measurements else 0
        final = {f"select/{name}": value for name, value in record.metrics.items()}
        training = study.resolve(record.params).model_dump(mode="json")
        scalars = {k: v if isinstance(v, str | bool | int | float) else str(v) for k, v in training.items()}
        for summary in hparams(scalars | {"state": record.state.value}, final):
            self._add(summary, 0)
        self._add_scalars("select", record.metrics, step)
        self._add(text("state", f"{record.state.value}: {record.reason}"), step)
        if verdict:
            self._add(text("verdict", verdict), step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()

    def _add_scalars(self, group: str, values: dict[str, float], step: int) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._add(scalar(f"{group}/{name}", value), step)

    def _add(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))


class _LiveFile:
    def __init__(self, folder: StudyFolder, key: str, *, attempt: int) -> None:
        path = folder.events(key)
        shutil.rmtree(path, ignore_errors=True)
        self.attempt = attempt
        self.events = EventFile(path)
        self._curve = CurveReader(folder, key)
        self._optimizer_step = 0
        self._evaluation = 0

    def append(self, record: TrialRecord) -> None:
        points = [p for p in self._curve.read() if p.optimizer_step > self._optimizer_step]
        measurements = [m for m in record.measurements if m.step > self._evaluation]
        self.events.add_items(merge(points, measurements))
        self._optimizer_step = max([self._optimizer_step, *(p.optimizer_step for p in points)])
        self._evaluation = max([self._evaluation, *(m.step for m in measurements)])
