"""The status of a study, read from its folder at any time by any process."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import Choice, PublishAdvice
from loratory.reports.findings import Findings
from loratory.reports.formatting import duration, never_started
from loratory.reports.ranking import order
from loratory.reports.study_verdict import study_verdict
from loratory.reports.verdict_file import StudyVerdict
from loratory.search.best_settings import retrainings_left
from loratory.search.clock import read_active_seconds
from loratory.search.lock import is_running
from loratory.search.progress import short
from loratory.search.samplers import trial_limit
from loratory.spaces.errors import LoratoryError
from loratory.spaces.frozen import Frozen
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import parse_retraining_key


class TrialStatus(Frozen):
    """An unfinished trial."""

    key: str
    """`0011`; `confirm/0011-2` for a training of the settings of trial 11 on a new seed."""
    number: int | None
    """Number of the trial; null for a training on a new seed."""
    attempt: int
    failures: int
    """Attempts that failed or lost their worker; interrupted attempts do not count."""
    params: dict[str, Any]
    evaluation: int
    """Evaluations so far."""
    evaluations: int
    """Evaluations of the whole schedule."""
    value: float | None
    """The study's metric at the last evaluation, on eval.dev."""
    optimizer_step: int
    """Optimiser steps so far."""


class RetrainedStatus(Frozen):
    """Trainings of the best settings on new seeds, which are no trials of the search."""

    settings: int
    """Settings of which a training has begun."""
    seeds: int
    """Most new seeds of one of them."""
    total: int
    """Trainings that are recorded, or are left to be begun."""
    states: dict[str, int]
    """Trainings by state."""
    trials: list[TrialStatus]
    """Unfinished trainings that have begun."""

    @property
    def done(self) -> int:
        """Trainings with a final state."""
        return sum(count for state, count in self.states.items() if TrialState(state).finished)


class StudyStatus(Frozen):
    """The content of `loratory status`."""

    name: str
    folder: str
    running: bool
    """True while a driver runs."""
    done: int
    """Finished trials that count towards the limit."""
    limit: int
    """Largest number of trials."""
    states: dict[str, int]
    """Trials by state."""
    never_started: int
    """Infeasible trials that were predicted to fit no worker, and were given to none."""
    metric: str
    best_number: int | None
    best_value: float | None
    active_seconds: float
    """Seconds in which drivers have worked on the study."""
    trials: list[TrialStatus]
    """Unfinished trials: running, or waiting to be resumed."""
    retrained: RetrainedStatus | None = None
    """Counts of the trainings on new seeds; null if there are none."""
    verdict: tuple[str, ...] = ()
    """What the scores say so far, in sentences."""
    published: str = ""
    """Which adapter is published, why, and the interval of its score."""
    further: str = ""
    """How likely further trials change the published file, and what more examples would tell."""
    provisional: bool = False
    """True if trials are unfinished, so that the verdict may change."""
    choice: Choice | None = None
    """The trial whose adapter is published, as in report.json; null if no trial is ranked."""
    publish: PublishAdvice | None = None
    """How its adapter is published; null if no trial is ranked."""
    findings: Findings | None = None
    """The numbers of the verdict, as in report.json; null if no trial is ranked."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that the scores say, in words."""
        return StudyVerdict(**{name: getattr(self, name) for name in StudyVerdict.model_fields}).lines


def study_status(folder: StudyFolder) -> StudyStatus:
    """Read the status of a study.

    Raises:
        InputError: there is no study in the folder.
    """
    study = folder.read_manifest().spec
    records = folder.read_records()
    ranked = order(records, study.metric_direction)
    states = Counter(record.state for record in records)
    done = sum(states[state] for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return StudyStatus(
        name=study.name,
        folder=str(folder.path),
        running=is_running(folder.path),
        done=done,
        limit=trial_limit(study, infeasible=states[TrialState.INFEASIBLE]),
        states=_counts(records),
        never_started=sum(record.never_started for record in records),
        metric=study.metric,
        best_number=ranked[0].row if ranked else None,
        best_value=ranked[0].values[0] if ranked and ranked[0].values else None,
        active_seconds=read_active_seconds(folder.clock),
        trials=[_trial(folder, study, record) for record in records if not record.state.finished],
        retrained=_retrained(folder, study, records),
    )


def status_with_verdict(folder: StudyFolder) -> StudyStatus:
    """Read the status of a study, and compute its verdict from the scores so far.

    Raises:
        InputError: there is no study in the folder.
        LoratoryError: a record is damaged. Damaged scores cost the verdict alone, which says so.
    """
    status = study_status(folder)
    try:
        found = study_verdict(folder)
    except LoratoryError as error:
        found = StudyVerdict(verdict=(f"There is no verdict: {error}",))
    return status.model_copy(update=dict(found))


def _retrained(
    folder: StudyFolder, study: StudySpec, trials: Sequence[TrialRecord]
) -> RetrainedStatus | None:
    records = folder.read_retrained()
    if not records:
        return None
    left = []
    if study.confirmation is not None:
        left = retrainings_left(
            trials, records, direction=study.metric_direction, confirmation=study.confirmation
        )
    places = [parse_retraining_key(record.key) for record in records]
    return RetrainedStatus(
        settings=len({number for number, _ in places}),
        seeds=max(index for _, index in places),
        total=len({*left, *(record.key for record in records)}),
        states=_counts(records),
        trials=[_trial(folder, study, record) for record in records if not record.state.finished],
    )


def _counts(records: Sequence[TrialRecord]) -> dict[str, int]:
    return {state.value: n for state, n in sorted(Counter(record.state for record in records).items())}


def _trial(folder: StudyFolder, study: StudySpec, record: TrialRecord) -> TrialStatus:
    last = record.measurements[-1] if record.measurements else None
    curve = folder.read_curve(record.key)
    return TrialStatus(
        key=record.key,
        number=record.number,
        attempt=record.attempt,
        failures=len(record.failures),
        params=record.params,
        evaluation=last.step if last else 0,
        evaluations=study.evaluation.evaluations,
        value=last.metrics[study.metric] if last else None,
        optimizer_step=curve[-1].optimizer_step if curve else 0,
    )


def render_status(status: StudyStatus) -> RenderableType:
    """Render the status for a terminal."""
    again = status.retrained
    finished = status.done >= status.limit and (again is None or again.done == again.total)
    state = (
        "running" if status.running else "done" if finished else "stopped; the same command goes on with it"
    )
    counts = _in_words(status.states, running=status.running) or "none yet"
    head = Text(f"{status.name}: {state}\n{status.done}/{status.limit} trials ({counts})")
    head.append(f", worked on for {duration(status.active_seconds)}")
    if status.never_started:
        head.append(f"\n{never_started(status.never_started)}")
    if status.best_value is not None:
        head.append(f"\nbest {status.metric} {status.best_value:.4g} on select (trial {status.best_number})")
    if again is not None:
        counts = _in_words(again.states, running=status.running)
        settings, seeds = _plural(again.settings, "setting"), _plural(again.seeds, "new seed")
        done = f": {again.done} of {again.total}" * (again.done < again.total)
        head.append(f"\nretrained {settings} on {seeds}{done} ({counts})")
    if status.states:  # of a study without trials there is nothing to say
        for sentence in status.sentences:
            head.append(f"\n{sentence}")
    trials = [*status.trials, *(again.trials if again else ())]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=bool(trials))
    for heading in ("trial", "failed or lost", "evaluation", f"{status.metric} on dev", "parameters"):
        table.add_column(heading)
    for trial in trials:
        value = "-" if trial.value is None else f"{trial.value:.4g}"
        evaluation = f"{trial.evaluation}/{trial.evaluations}"
        failures = str(trial.failures or "-")
        name = trial.key if trial.number is None else str(trial.number)
        table.add_row(name, failures, evaluation, value, short(trial.params))
    return Group(head, table)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"


def _in_words(states: Mapping[str, int], *, running: bool) -> str:
    """Count by state; without a driver nothing is running."""
    names = {} if running else {TrialState.RUNNING.value: "to go on"}
    return ", ".join(f"{count} {names.get(name, name)}" for name, count in states.items())
