"""After a crash: make records and Optuna rows agree, and put unfinished trials back in line."""

from dataclasses import dataclass

import optuna
from optuna.trial import TrialState as OptunaState

from loratory.objectives.records import TrialRecord, TrialState
from loratory.search.optuna_rows import mark_infeasible, open_trial, set_intermediate_value, tell_row
from loratory.search.owner import StudyOwner
from loratory.spaces.errors import LoratoryError
from loratory.spaces.trial import trial_key

_ROW_STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.INFEASIBLE: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
}


@dataclass(frozen=True)
class Resumed:
    """What a start found.

    Attributes:
        finished: trials with a final state.
        unfinished: trials that go on.
    """

    finished: int
    unfinished: int


def reconcile(owner: StudyOwner, rows: optuna.Study) -> Resumed:
    """Tell rows what their records know, and queue every trial without an end.

    A row without a record is an ask that was cut short, or one whose record was not yet written: it is
    completed and run, so no row is wasted.

    Raises:
        LoratoryError: a record has no row; the storage is not the one that this folder was written with.
    """
    frozen = rows.get_trials(deepcopy=False)
    lost = sorted(set(owner.records) - {trial_key(row.number) for row in frozen})
    if lost:
        number = owner.records[lost[0]].shown
        raise LoratoryError(
            f"storage must be the first run's, has no row for recorded trial {number}; restore study.db "
            "in the study folder, or the database of `storage`; `loratory report` works without it"
        )
    for row in frozen:
        record = owner.records.get(trial_key(row.number))
        if record is not None and not row.state.is_finished():
            _complete_values(rows, row, record, owner.study.metric)
        if record is not None and record.state.finished:
            _tell(rows, row, record)
        elif row.state.is_finished():
            raise LoratoryError(
                f"trial {row.number} is {row.state.name} in the storage and unfinished in its record; "
                "another program wrote to the storage: restore it, or start a study of another name"
            )
        else:
            owner.wait(row.number)
    return Resumed(
        finished=sum(record.state.finished for record in owner.records.values()),
        unfinished=sum(not row.state.is_finished() for row in rows.get_trials(deepcopy=False)),
    )


def _complete_values(
    rows: optuna.Study, row: optuna.trial.FrozenTrial, record: TrialRecord, metric: str
) -> None:
    """A kill may have come between a measurement's record and its row."""
    for measurement in record.measurements:
        if measurement.step not in row.intermediate_values:
            set_intermediate_value(
                open_trial(rows, row.number), measurement.step, measurement.metrics[metric]
            )


def _tell(rows: optuna.Study, row: optuna.trial.FrozenTrial, record: TrialRecord) -> None:
    if row.state.is_finished():
        return
    if record.state is TrialState.INFEASIBLE:
        mark_infeasible(open_trial(rows, row.number), record.reason)
    value = record.values[0] if record.state is TrialState.COMPLETE and record.values else None
    tell_row(rows, row.number, _ROW_STATES[record.state], value)
