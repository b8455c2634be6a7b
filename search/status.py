"""The status of a study, read from its folder at any time by any process."""

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.formatting import never_started
from loratory.reports.ranking import order
from loratory.search.clock import read_active_seconds
from loratory.search.lock import is_running
from loratory.search.progress import clock, short
from loratory.search.samplers import trial_limit
from loratory.spaces.frozen import Frozen
from loratory.spaces.study import StudySpec


class TrialStatus(Frozen):
    """An unfinished trial."""

    number: int
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
        states={state.value: count for state, count in sorted(states.items())},
        never_started=sum(record.never_started for record in records),
        metric=study.metric,
        best_number=ranked[0].row if ranked else None,
        best_value=ranked[0].values[0] if ranked and ranked[0].values else None,
        active_seconds=read_active_seconds(folder.clock),
        trials=[_trial(folder, study, record) for record in records if not record.state.finished],
    )


def _trial(folder: StudyFolder, study: StudySpec, record: TrialRecord) -> TrialStatus:
    last = record.measurements[-1] if record.measurements else None
    curve = folder.read_curve(record.key)
    return TrialStatus(
        number=record.row,
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
    finished = status.done >= status.limit
    state = (
        "running" if status.running else "done" if finished else "stopped; the same command goes on with it"
    )
    # Without a driver no trial is running.
    names = {} if status.running else {TrialState.RUNNING.value: "to go on"}
    counts = ", ".join(f"{count} {names.get(name, name)}" for name, count in status.states.items())
    head = Text(f"{status.name}: {state}\n{status.done}/{status.limit} trials ({counts or 'none yet'})")
    head.append(f", {clock(status.active_seconds)} of work")
    if status.never_started:
        head.append(f"\n{never_started(status.never_started)}")
    if status.best_value is not None:
        head.append(f"\nbest {status.metric} {status.best_value:.4g} on select (trial {status.best_number})")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=bool(status.trials))
    for heading in ("trial", "failed or lost", "evaluation", f"{status.metric} on dev", "parameters"):
        table.add_column(heading)
    for trial in status.trials:
        value = "-" if trial.value is None else f"{trial.value:.4g}"
        evaluation = f"{trial.evaluation}/{trial.evaluations}"
        failures = str(trial.failures or "-")
        table.add_row(str(trial.number), failures, evaluation, value, short(trial.params))
    return Group(head, table)
