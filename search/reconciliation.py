"""After a crash: make records and Optuna rows agree, and queue unfinished trials."""

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
    """Trials found at the start of a run.

    Attributes:
        finished: number of trials with a final state.
        unfinished: number of trials that are resumed.
    """

    finished: int
    unfinished: int


def reconcile(owner: StudyOwner, rows: optuna.Study) -> Resumed:
    """Update rows from their records, and queue every unfinished trial.

    A row without a record comes from an interrupted ask. It is completed and run, so that no row is wasted.
    A row that is enqueued stays so: the next ask takes it.

    Raises:
        LoratoryError: a record has no row, so the storage is not that of the study folder.
    """
    frozen = rows.get_trials(deepcopy=False)
    lost = sorted(set(owner.records) - {trial_key(row.number) for row in frozen})
    if lost:
        number = owner.records[lost[0]].shown
        raise LoratoryError(
            f"storage must be the first run's, has no row for recorded trial {number}; restore study.db "
            "in the study folder, or the database of `storage`; the report can be made without it"
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
        elif record is not None or row.state is not OptunaState.WAITING:
            owner.wait(row.number)
    return Resumed(
        finished=sum(record.state.finished for record in owner.records.values()),
        unfinished=sum(not row.state.is_finished() for row in rows.get_trials(deepcopy=False)),
    )


def _complete_values(
    rows: optuna.Study, row: optuna.trial.FrozenTrial, record: TrialRecord, metric: str
) -> None:
    """Store measurements of the record that the row lacks after a kill between the two writes."""
    for measurement in record.measurements:
        if measurement.step not in row.intermediate_values:
            set_intermediate_value(
                open_trial(rows, row.number), measurement.step, measurement.metrics[metric]
            )


def _tell(rows: optuna.Study, row: optuna.trial.FrozenTrial, record: TrialRecord) -> None:
    if row.state.is_finished():
        return
    if record.state is TrialState.INFEASIBLE:
        excess = 1.0 if record.memory_excess is None else record.memory_excess
        mark_infeasible(open_trial(rows, row.number), record.reason, excess=excess)
    value = record.values[0] if record.state is TrialState.COMPLETE and record.values else None
    tell_row(rows, row.number, _ROW_STATES[record.state], value)
