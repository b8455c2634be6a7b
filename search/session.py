"""One run of the driver on an open study folder, from the first ask to the last flush."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import OptunaError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from loratory.objectives.manifest import Manifest
from loratory.objectives.objective import Prepared, objective_kind
from loratory.objectives.records import Provenance, TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.objectives.work_times import append_times
from loratory.reports.comparison import compare
from loratory.reports.comparison_report import ComparisonReport
from loratory.reports.study_verdict import verdict_of
from loratory.reports.trackers.tracker import Tracker, open_trackers
from loratory.reports.verdict_file import published_in
from loratory.reports.work_time_words import times_text
from loratory.reports.writing import write_report
from loratory.search.adapter_budget import AdapterBudget
from loratory.search.clock import StudyClock
from loratory.search.dashboard_note import keep_note
from loratory.search.display import FinishedLines, PlainLines, live_view
from loratory.search.driver import Driver
from loratory.search.executors.executor import Executor
from loratory.search.host_room import HostRoom
from loratory.search.ledger import TrialLedger
from loratory.search.manifest import git_state
from loratory.search.optuna_rows import find_rows, open_rows
from loratory.search.owner import StudyOwner
from loratory.search.owners import SearchThenRetraining, TrialOwner
from loratory.search.progress import StudyProgress
from loratory.search.reconciliation import reconcile
from loratory.search.retraining import RetrainingOwner
from loratory.search.run_plan import RunPlan
from loratory.search.samplers import trial_limit
from loratory.search.scoring import ScoringQueue
from loratory.search.scoring_ledger import ScoringLedger
from loratory.search.terminal import say
from loratory.search.trial_memory import TrialMemory
from loratory.search.work_log import WorkLog
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.errors import InputError

_FLUSH_SECONDS = 60.0


@dataclass(frozen=True)
class StudyResult:
    """The outcome of a run of a study.

    Attributes:
        folder: the study folder.
        best: record of the trial whose adapter is published, which need not be the first of the ranking;
            None if no trial is ranked.
        metrics: its metrics on eval.select.
        adapter: folder of its adapter; None if it has none, or none any more.
        comparison: content of the report; None if there is nothing to compare.
        report: path of report.html; None likewise.
        interrupted: the run was stopped before the study was done.
        notes: lines for the user, such as how to sync W&B.
    """

    folder: StudyFolder
    best: TrialRecord | None
    metrics: dict[str, float]
    adapter: Path | None
    comparison: ComparisonReport | None
    report: Path | None
    interrupted: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work of one run of the driver.

    Attributes:
        search: run the trials; without it the storage is not opened.
        confirmation: train the best settings again afterwards; null does not.
    """

    search: bool = True
    confirmation: ConfirmationSpec | None = None


class StudySession:
    """Opens the storage, makes it agree with the records, and runs the driver once."""

    def __init__(
        self,
        folder: StudyFolder,
        manifest: Manifest,
        prepared: Prepared,
        console: Console,
        *,
        work: Work,
        began: float,
    ) -> None:
        """Open the storage.

        Args:
            folder: the study folder.
            manifest: the study's.
            prepared: data from which workers build the objective.
            console: receives progress.
            work: what this run does.
            began: `time.monotonic()` at the beginning of the command.
        """
        self._times = WorkLog(began)
        self._folder, self._manifest, self._prepared, self._console = folder, manifest, prepared, console
        self._study, self._work = manifest.spec, work
        provenance = Provenance(
            seed=self._study.seed,
            hashes=prepared.hashes,
            git=git_state(),
            study_created_at=manifest.created_at,
        )
        ledger = partial(TrialLedger, folder, study_uuid=manifest.uuid, provenance=provenance)
        self._ledger, self._retrained = ledger(), ledger(records=folder.read_retrained())
        self._scorings = ScoringLedger(self._ledger, self._retrained)
        self._memory = self._trial_memory()
        self._notes: Sequence[str] = ()
        self._rows: optuna.Study | None = None
        self._comparison: ComparisonReport | None = None
        self._retraining = self._retraining_owner(work.confirmation) if work.confirmation else None
        self._owner = self._trial_owner()

    def _retraining_owner(self, confirmation: ConfirmationSpec) -> RetrainingOwner:
        return RetrainingOwner(
            self._study,
            confirmation,
            search=self._ledger.records,
            ledger=self._retrained,
            memory=self._memory,
            say=self._say,
        )

    def _trial_owner(self) -> TrialOwner:
        """Return who decides in this run; for a search the storage is opened and made to agree."""
        if not self._work.search:
            assert self._retraining is not None, "a run searches, retrains or does both"
            if not self._retraining.left(new=False):
                self._say(self._retraining.nothing_left)
            return self._retraining
        self._rows = rows = open_rows(self._folder, self._manifest)
        search = StudyOwner(self._study, rows=rows, ledger=self._ledger, memory=self._memory)
        resumed = reconcile(search, rows)
        if resumed.finished or resumed.unfinished:
            self._say(f"resuming: {resumed.finished} trials finished, {resumed.unfinished} go on")
        return SearchThenRetraining(search, self._retraining) if self._retraining else search

    def drive(self, executor: Executor, interrupted: Callable[[], bool]) -> bool:
        """Run the event loop and return whether the study is done."""
        clock = StudyClock(self._folder.clock)
        self._plan = RunPlan(
            self._study,
            self._prepared,
            self._say,
            runs=self._folder.path,
            wanted=self._work.search,
        )
        tracker = open_trackers(self._study, self._folder, self._manifest.uuid)
        try:
            with self._watching() as displays:
                driver = Driver(
                    self._owner,
                    ledger=self._scorings,
                    scoring=ScoringQueue(self._folder, self._prepared),
                    executor=executor,
                    room=HostRoom(self._folder, least_bytes=lambda: self._memory.smallest_bytes),
                    budget=AdapterBudget(self._study, self._folder, self._ledger, self._retrained),
                    prepared=self._prepared,
                    watchers=[*displays, tracker],
                    times=self._times,
                    interrupted=interrupted,
                    time_is_up=lambda: self._is_up(clock.active_seconds),
                    say=self._say,
                )
                done = driver.run()
            if not done and interrupted():
                self._say("stopping; every trial can go on later (Ctrl-C again ends at once)")
            self._tell_times()
            executor.close()  # the report needs no workers
            self._conclude(tracker)
            return done
        finally:
            self._plan.close()
            # Each step runs even if another raises: a full disk must not leave workers behind.
            try:
                executor.close()
            finally:
                try:
                    self._notes = tracker.close(_FLUSH_SECONDS)
                finally:
                    clock.save()

    def _tell_times(self) -> None:
        """Write down where the time went, and say it."""
        times = self._times.end()
        if any(one.training_seconds or one.scoring_seconds for one in times):
            append_times(self._folder.work_times, times)
            self._say(times_text(times))

    def result(self, *, done: bool) -> StudyResult:
        """Write the report and the study's note, and return the outcome."""
        comparison = self._write_report()
        winner = comparison.winner if comparison else None
        best = self._scorings.records[winner.key] if winner else None
        return StudyResult(
            folder=self._folder,
            best=best,
            metrics=best.metrics if best else {},
            adapter=self._folder.path / winner.adapter if winner and winner.adapter else None,
            comparison=comparison,
            report=self._folder.report_html if comparison else None,
            interrupted=not done,
            notes=(*self._notes, *(self._write_note(comparison) if comparison else ())),
        )

    def _write_report(self) -> ComparisonReport | None:
        """Write the report, once per run, and return it; None where there is nothing to compare."""
        if self._comparison is None and self._owner.records:
            self._comparison = compare(self._folder)
            write_report(self._folder, self._comparison)
        return self._comparison

    def _conclude(self, tracker: Tracker) -> None:
        """Write the report, and have the runs written again that it says something else of now."""
        before = published_in(self._folder)
        comparison = self._write_report()
        after = comparison.choice.key if comparison and comparison.choice else None
        for key in dict.fromkeys((before, after)):
            if key is not None and key in self._scorings.records:
                tracker.finished(self._scorings.records[key])

    def _write_note(self, comparison: ComparisonReport) -> list[str]:
        """Write the verdict into the storage as the study's note; return a line where that fails."""
        try:
            rows = self._rows or find_rows(self._folder, self._manifest)
            if rows is not None:
                keep_note(rows, verdict_of(comparison))
        except (SQLAlchemyError, OptunaError, InputError, ImportError, RuntimeError) as error:
            # RuntimeError: tables of another version of Optuna.
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            return [f"note: the verdict is not in the storage's note of the study ({cause})"]
        return []

    def _trial_memory(self) -> TrialMemory:
        predict = objective_kind(self._study.objective).trial_bytes
        return TrialMemory(self._study, predict and partial(predict, self._study, self._prepared))

    def _is_up(self, active_seconds: float) -> bool:
        limit = self._study.time_limit_minutes
        return limit is not None and active_seconds > 60 * limit

    @contextmanager
    def _watching(self) -> Iterator[list[Tracker]]:
        progress = StudyProgress(
            self._study,
            limit=trial_limit(self._study),
            planned_seconds=self._plan.seconds,
            retrainings=lambda: self._retraining.total if self._retraining else 0,
        )
        for record in self._owner.records.values():
            if record.state.finished:
                progress.count(record)
        if not self._console.is_terminal:
            yield [progress, PlainLines(self._console, progress)]
            return
        with live_view(self._console, progress):
            yield [progress, FinishedLines(self._console, progress)]

    def _say(self, text: str) -> None:
        say(self._console, text)
