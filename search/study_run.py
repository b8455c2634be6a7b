"""`run_study`: from a validated study to a report, resuming whatever an earlier run left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loratory.objectives.objective import Prepared, objective_kind
from loratory.objectives.records import Provenance, TrialRecord
from loratory.objectives.study_folder import Manifest, StudyFolder, write_atomically
from loratory.reports.trackers.tracker import Tracker, open_trackers
from loratory.reports.writing import write_report
from loratory.search.clock import StudyClock
from loratory.search.display import FinishedLines, PlainLines, live_view
from loratory.search.driver import Driver
from loratory.search.executors.executor import Executor
from loratory.search.interruption import catch_interrupt
from loratory.search.ledger import TrialLedger
from loratory.search.lock import LOCK_NAME, driver_lock
from loratory.search.manifest import check_fits, git_state, open_manifest
from loratory.search.optuna_rows import open_rows
from loratory.search.owner import StudyOwner
from loratory.search.progress import StudyProgress
from loratory.search.reconciliation import reconcile
from loratory.search.samplers import trial_limit
from loratory.search.scoring import ScoringQueue
from loratory.spaces.study import StudySpec

_FLUSH_SECONDS = 120.0


@dataclass(frozen=True)
class StudyResult:
    """What a run of a study leaves.

    Attributes:
        folder: the study folder.
        best: record of the best COMPLETE trial; null where there is none.
        metrics: its metrics on eval.select.
        adapter: folder of its adapter; null where it has none.
        report: report.html.
        interrupted: the run was stopped before the study was done.
        notes: lines for the person, such as how to sync W&B.
    """

    folder: StudyFolder
    best: TrialRecord | None
    metrics: dict[str, float]
    adapter: Path | None
    report: Path | None
    interrupted: bool
    notes: tuple[str, ...]


def run_study(
    study: StudySpec,
    *,
    runs: str | Path = "runs",
    address: str | None = None,
    local: bool = False,
    console: Console | None = None,
) -> StudyResult:
    """Run a study, or go on with it where its folder exists.

    Args:
        study: what to run.
        runs: where study folders lie.
        address: a running Ray cluster; null starts Ray on this machine.
        local: one worker in this process, without Ray.
        console: where progress goes; null is silent.

    Raises:
        InputError: what the person can mend; raised before any model is loaded.
        LoratoryError: the study cannot go on.
    """
    console = console or Console(quiet=True)
    folder = StudyFolder(Path(runs) / study.name)
    with _owned(folder), catch_interrupt(lambda: _announce_stop(console)) as interrupted:
        if folder.manifest.is_file():
            check_fits(folder, folder.read_manifest(), study)
        prepared = objective_kind(study.objective).prepare(study)
        manifest = open_manifest(folder, study, prepared.hashes)
        _keep_data(folder, prepared)
        for line in prepared.summary:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        run = _Run(folder, manifest, prepared, console)
        notes = run.drive(_executor(study, prepared, address=address, local=local), interrupted)
        return run.result(interrupted=interrupted(), notes=notes)


class _Run:
    """One run of the driver over an open study folder."""

    def __init__(self, folder: StudyFolder, manifest: Manifest, prepared: Prepared, console: Console) -> None:
        self._folder, self._manifest, self._prepared, self._console = folder, manifest, prepared, console
        self._study = manifest.spec
        provenance = Provenance(seed=self._study.seed, hashes=prepared.hashes, git=git_state())
        self._ledger = TrialLedger(folder, study_uuid=manifest.uuid, provenance=provenance)
        rows = open_rows(folder, manifest)
        self._owner = StudyOwner(self._study, rows=rows, ledger=self._ledger)
        resumed = reconcile(self._owner, rows)
        if resumed.finished or resumed.unfinished:
            self._say(f"resuming: {resumed.finished} trials finished, {resumed.unfinished} go on")

    def drive(self, executor: Executor, interrupted: Callable[[], bool]) -> list[str]:
        """Run the event loop; returns what the trackers have to say."""
        clock = StudyClock(self._folder.path / "clock.json")
        limit = self._study.time_limit_minutes
        tracker = open_trackers(self._study, self._folder, self._manifest.uuid)
        notes: list[str] = []
        try:
            with self._watching() as displays:
                driver = Driver(
                    self._owner,
                    ledger=self._ledger,
                    scoring=ScoringQueue(self._folder, self._prepared),
                    executor=executor,
                    watchers=[*displays, tracker],
                    interrupted=interrupted,
                    time_is_up=lambda: limit is not None and clock.active_seconds > 60 * limit,
                )
                driver.run()
        finally:
            executor.close()
            clock.save()
            notes = tracker.close(_FLUSH_SECONDS)
        return notes

    def result(self, *, interrupted: bool, notes: Sequence[str]) -> StudyResult:
        """Write the report and gather what came out."""
        best = self._owner.best()
        return StudyResult(
            folder=self._folder,
            best=best,
            metrics=best.metrics if best else {},
            adapter=self._folder.adapter(best.number) if best and best.adapter else None,
            report=write_report(self._folder) if self._owner.records else None,
            interrupted=interrupted,
            notes=tuple(notes),
        )

    @contextmanager
    def _watching(self) -> Iterator[list[Tracker]]:
        progress = StudyProgress(self._study, limit=trial_limit(self._study))
        for record in self._owner.records.values():
            if record.state.finished:
                progress.count(record)
        if not self._console.is_terminal:
            yield [progress, PlainLines(self._console, progress)]
            return
        with live_view(self._console, progress):
            yield [progress, FinishedLines(self._console, progress)]

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def _executor(study: StudySpec, prepared: Prepared, *, address: str | None, local: bool) -> Executor:
    if local:
        from loratory.search.executors.local import LocalExecutor

        return LocalExecutor(study, prepared)
    from loratory.search.executors.ray_workers import RayExecutor

    return RayExecutor(study, prepared, address=address)


@contextmanager
def _owned(folder: StudyFolder) -> Iterator[None]:
    """Hold the study's lock; a folder in which no study began is not left behind."""
    with driver_lock(folder.path):
        try:
            yield
        finally:
            if not folder.manifest.is_file():
                (folder.path / LOCK_NAME).unlink()
                folder.path.rmdir()


def _keep_data(folder: StudyFolder, prepared: Prepared) -> None:
    for name, data in prepared.files.items():
        write_atomically(folder.data / name, data)


def _announce_stop(console: Console) -> None:
    console.print("\nstopping; every trial can go on later (Ctrl-C again ends at once)", highlight=False)
