"""Write the W&B runs of a study's trials. Only the W&B process uses this module, which imports wandb."""

import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.samples import read_predictions
from loratory.reports.trackers.conclusion import NO_LONGER_PUBLISHED, Conclusion, read_conclusion
from loratory.reports.trackers.marker import Marker, Position, read_marker, write_marker
from loratory.reports.trackers.trial_files import CurveReader, merge
from loratory.reports.trackers.wandb_content import (
    AXES,
    TABLE,
    TABLE_COLUMNS,
    final_summary,
    history_row,
    run_config,
    table_rows,
)
from loratory.reports.trackers.wandb_environment import run_id
from loratory.spaces.study import StudySpec

MARKER = "wandb"
_KEPT_POSITIONS = 64


class UnreachableError(RuntimeError):
    """The W&B server cannot be reached, or refuses the key or the rows."""


class StudyRuns:
    """Begins and ends the runs of a study."""

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        *,
        study_uuid: str,
        work: Path,
        connect_timeout_seconds: float,
    ) -> None:
        """Take a study.

        Args:
            study: its spec, without secrets.
            folder: its folder.
            study_uuid: the study's UUID, part of the run ids.
            work: folder for offline runs until they are complete.
            connect_timeout_seconds: longest wait for the server when a run begins.
        """
        self.study = study
        self.folder = folder
        self._study_uuid = study_uuid
        self._work = work
        self._connect_timeout_seconds = connect_timeout_seconds

    def id(self, key: str) -> str:
        """Return the id of a trial's run."""
        return run_id(self._study_uuid, key)

    def marker_path(self, key: str) -> Path:
        """Return the path of a trial's marker."""
        return self.folder.marker(key, MARKER)

    def is_complete(self, record: TrialRecord, conclusion: Conclusion) -> bool:
        """Return whether a finished trial's run is written completely, with what it says of the verdict."""
        marker = read_marker(self.marker_path(record.key))
        return marker is not None and marker.covers(record, conclusion.digest)

    def begin(self, record: TrialRecord, *, online: bool) -> Any:
        """Begin the `wandb.Run` of a trial, or continue online the one that an earlier process began.

        Raises:
            UnreachableError: the mode is online, and the server does not answer or refuses the key.
        """
        import wandb

        place = self.folder.path if online else self._work
        place.mkdir(parents=True, exist_ok=True)  # wandb would fall back to the temporary folder
        spec = self.study.tracking.wandb
        try:
            run = wandb.init(
                project=spec.project,
                entity=spec.entity,
                group=self.study.name,
                job_type="retraining" if record.retrained else "trial",
                id=self.id(record.key),
                name=f"{self.study.name}-{record.key}",
                tags=spec.tags,
                config=run_config(self.study, record),
                mode="online" if online else "offline",
                resume="allow" if online else None,
                reinit="create_new",
                dir=str(place),
                settings=_settings(self._connect_timeout_seconds),
            )
        except Exception as error:
            if online:
                raise UnreachableError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
            raise
        for axis in dict.fromkeys(AXES.values()):
            run.define_metric(axis, hidden=True)
        for names, axis in AXES.items():
            run.define_metric(names, step_metric=axis)
        return run

    def end(self, run: Any, record: TrialRecord, conclusion: Conclusion, *, with_table: bool = True) -> Path:
        """Add final metrics, state and predictions, finish the run, and return its folder.

        Args:
            run: the `wandb.Run`.
            record: the trial's record.
            conclusion: what it says of the study's verdict.
            with_table: whether to add the predictions; False where the run has them.
        """
        import wandb

        run.summary.update(final_summary(record) | conclusion.entries)
        run.tags = (*self.study.tracking.wandb.tags, record.state.value)
        rows = table_rows(
            list(read_predictions(self.folder.trial(record.key)).values()),
            self.study.tracking.wandb.prediction_rows,
        )
        if rows and with_table:
            run.log({TABLE: wandb.Table(columns=list(TABLE_COLUMNS), data=rows)})
        path = Path(run.dir).parent
        run.finish(exit_code=1 if record.state is TrialState.FAIL else 0)
        return path

    def mark_complete(
        self,
        record: TrialRecord,
        path: Path,
        *,
        mode: str,
        conclusion: Conclusion,
        sent: Sequence[Position] = (Position(),),
    ) -> None:
        """Write the marker of a complete run.

        Args:
            record: the trial's record.
            path: the run's folder.
            mode: online or offline.
            conclusion: what it says of the study's verdict.
            sent: the latest positions of its history.
        """
        marker = Marker(
            id=self.id(record.key),
            mode=mode,
            folder=f"{self.folder.wandb.name}/{path.name}",
            complete=True,
            state=record.state,
            attempt=record.attempt,
            sent=tuple(sent),
            conclusion=conclusion.digest,
        )
        write_marker(self.marker_path(record.key), marker)

    def remove_folders(self, key: str) -> None:
        """Remove the incomplete or outdated folders of a trial's run."""
        for path in self.folder.wandb.glob(f"*run-*-{self.id(key)}"):
            shutil.rmtree(path)


class OfflineRuns:
    """Writes each run to disk at once, when its trial is over.

    A run that grew over several processes would lie in several folders, and uploading one would overwrite
    the curve of another. The folder of a run is outside `wandb/` until it is complete.
    """

    mode = "offline"

    def __init__(self, runs: StudyRuns) -> None:
        """Take the study's runs."""
        self._runs = runs

    def update(self, key: str) -> None:
        """Do nothing: an offline run is written when its trial is over."""

    def complete(self, key: str) -> None:
        """Write a finished trial, unless it is written already."""
        record, conclusion = self._runs.folder.read_record(key), read_conclusion(self._runs.folder, key)
        if self._runs.is_complete(record, conclusion):
            return
        self._runs.remove_folders(key)
        run = self._runs.begin(record, online=False)
        for item in merge(self._runs.folder.read_curve(key), record.measurements):
            run.log(history_row(item))
        path = self._runs.end(run, record, conclusion)
        kept = self._runs.folder.wandb / path.name
        path.rename(kept)
        self._runs.mark_complete(record, kept, mode=self.mode, conclusion=conclusion)

    def close(self) -> None:
        """Do nothing: no run is open."""


class OnlineRuns:
    """Runs that grow on the server while their trials train."""

    mode = "online"

    def __init__(self, runs: StudyRuns) -> None:
        """Take the study's runs."""
        self._runs = runs
        self._live: dict[str, _LiveRun] = {}

    def update(self, key: str) -> None:
        """Send the news of a running trial."""
        record = self._runs.folder.read_record(key)
        if not record.state.finished:
            self._open(record).send(record)

    def complete(self, key: str) -> None:
        """Send the rest of a finished trial and finish its run."""
        record, conclusion = self._runs.folder.read_record(key), read_conclusion(self._runs.folder, key)
        if self._runs.is_complete(record, conclusion):
            return
        again = self._is_written(record)
        live = self._open(record)
        live.send(record)
        if again and not conclusion.entries:
            # It was published, and another trial is now; a summary only changes or grows.
            live.run.summary.update(NO_LONGER_PUBLISHED)
        path = self._runs.end(live.run, record, conclusion, with_table=not again)
        del self._live[key]
        _check_uploaded(path)
        self._runs.mark_complete(record, path, mode=self.mode, conclusion=conclusion, sent=live.sent)

    def close(self) -> None:
        """Finish the runs of unfinished trials as preempted: the study's next run continues them."""
        for live in self._live.values():
            live.run.mark_preempting()
            live.run.finish(exit_code=1)

    def _is_written(self, record: TrialRecord) -> bool:
        """Return whether the server has the whole run, whatever it says of the verdict."""
        marker = read_marker(self._runs.marker_path(record.key))
        return marker is not None and marker.mode == self.mode and marker.covers(record, marker.conclusion)

    def _open(self, record: TrialRecord) -> "_LiveRun":
        if record.key not in self._live:
            self._live[record.key] = _LiveRun(self._runs, record)
        return self._live[record.key]


class _LiveRun:
    """One run on the server, and its position.

    The marker is written before rows are sent. When a process replaces one that died, the server says how
    many rows it has; the rows that the marker counts beyond these are sent again, and no others.
    """

    def __init__(self, runs: StudyRuns, record: TrialRecord) -> None:
        self._runs = runs
        self._curve = CurveReader(runs.folder, record.key)
        marker = read_marker(runs.marker_path(record.key))
        known = marker is not None and marker.mode == OnlineRuns.mode
        self.sent = list(marker.sent) if marker is not None and known else [Position()]
        self.run = runs.begin(record, online=True)
        for row in self._lost_rows(record):
            self.run.log(row)

    def send(self, record: TrialRecord) -> None:
        """Send steps and evaluations later than those sent before."""
        last = self.sent[-1]
        points = [p for p in self._curve.read() if p.optimizer_step > last.optimizer_step]
        measurements = [m for m in record.measurements if m.step > last.evaluation]
        if not points and not measurements:
            return
        items = merge(points, measurements)
        position = Position(
            rows=last.rows + len(items),
            optimizer_step=max([last.optimizer_step, *(p.optimizer_step for p in points)]),
            evaluation=max([last.evaluation, *(m.step for m in measurements)]),
        )
        # The first position is kept, so that a run deleted on the server can be sent from its beginning.
        self.sent = [self.sent[0], *self.sent[1:][2 - _KEPT_POSITIONS :], position]
        self._note(record)
        for item in items:
            self.run.log(history_row(item))

    def _lost_rows(self, record: TrialRecord) -> list[dict[str, float]]:
        received = int(self.run.starting_step)
        if received >= self.sent[-1].rows:
            return []
        first = max(i for i, position in enumerate(self.sent) if position.rows <= received)
        points = self._runs.folder.read_curve(record.key)
        items = [
            item
            for start, end in pairwise(self.sent[first:])
            for item in merge(
                [p for p in points if start.optimizer_step < p.optimizer_step <= end.optimizer_step],
                [m for m in record.measurements if start.evaluation < m.step <= end.evaluation],
            )
        ]
        return [history_row(item) for item in items[received - self.sent[first].rows :]]

    def _note(self, record: TrialRecord) -> None:
        marker = Marker(
            id=self._runs.id(record.key),
            mode=OnlineRuns.mode,
            folder=f"{self._runs.folder.wandb.name}/{Path(self.run.dir).parent.name}",
            attempt=record.attempt,
            sent=tuple(self.sent),
        )
        write_marker(self._runs.marker_path(record.key), marker)


def _check_uploaded(path: Path) -> None:
    # `finish` does not report that the server refused rows for good; the run's own log does.
    log = path / "logs" / "debug-internal.log"
    fatal = (line for line in log.read_text(errors="replace").splitlines() if '"level":"ERROR+' in line)
    if (line := next(fatal, None)) is not None:
        raise UnreachableError(str(json.loads(line).get("msg", line)))


def _settings(connect_timeout_seconds: float) -> Any:
    """Return the settings of every run. Machine and code are left out: this process did not train."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=connect_timeout_seconds,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
