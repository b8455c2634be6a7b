"""Rows of the Optuna storage: open, suggest and tell, with workarounds for Optuna's pitfalls."""

import errno
import os
import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from loratory.objectives.manifest import Manifest
from loratory.objectives.study_folder import StudyFolder
from loratory.search.pruners import build_pruner
from loratory.search.samplers import build_sampler
from loratory.spaces.command_line import command
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_UUID = "loratory_uuid"
_MEMORY_CONSTRAINT = "fits_memory"


def open_rows(folder: StudyFolder, manifest: Manifest) -> optuna.Study:
    """Open the study's rows in the Optuna storage; the first call creates them.

    Raises:
        InputError: the storage cannot be reached, or holds another study of this name.
        OSError: the disk is full.
    """
    study = manifest.spec
    url = study.storage or _sqlite_url(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        rows = optuna.create_study(
            storage=url,
            study_name=study.name,
            direction=study.metric_direction.value,
            sampler=build_sampler(study, 0),
            pruner=build_pruner(study),
            load_if_exists=True,
        )
    except (SQLAlchemyError, ImportError, KeyError) as error:
        if "disk is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.database)) from error
        raise InputError(_unreadable(folder, study, error)) from error
    owner = rows.user_attrs.get(_UUID)
    if owner is None and not rows.get_trials(deepcopy=False):
        rows.set_user_attr(_UUID, manifest.uuid)
    elif owner != manifest.uuid:
        if study.storage is None:
            raise InputError(
                f"{folder.database}: must belong to {folder.manifest.name} beside it, which was lost or is "
                "another's; restore that, or move the folder away and begin anew"
            )
        raise InputError(f"name: storage already has another study named {study.name}; choose another name")
    _name_objective(rows, study.metric)
    return rows


def _name_objective(rows: optuna.Study, metric: str) -> None:
    """Let dashboards call the objective what it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if rows.metric_names != [metric]:
            rows.set_metric_names([metric])


def find_rows(folder: StudyFolder, manifest: Manifest) -> optuna.Study | None:
    """Return the study's rows where its storage is there and has them; nothing is created.

    Raises:
        SQLAlchemyError: the storage cannot be reached.
    """
    study = manifest.spec
    if study.storage is None and not folder.database.is_file():
        return None
    try:
        rows = optuna.load_study(study_name=study.name, storage=study.storage or _sqlite_url(folder))
    except KeyError:
        return None
    return rows if rows.user_attrs.get(_UUID) == manifest.uuid else None


def _unreadable(folder: StudyFolder, study: StudySpec, error: Exception) -> str:
    cause = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if study.storage is not None:
        return f"storage: must be the URL of a database that can be reached: {cause}"
    return (
        f"{folder.database}: must be the study's SQLite database, cannot be read ({cause}); restore it; "
        f"`{command('report', folder.path)}` works without it"
    )


def _sqlite_url(folder: StudyFolder) -> str:
    path = str(folder.database.resolve())
    if set(path) & set("?{}%"):
        raise InputError(
            f"{folder.path}: path of a study must be free of ? {{ }} %: Optuna misreads them; move it"
        )
    return f"sqlite:///{path}"


def open_trial(rows: optuna.Study, number: int) -> Trial:
    """Return Optuna's object of an existing row."""
    return Trial(rows, rows._storage.get_trial_id_from_study_id_trial_number(rows._study_id, number))


def set_intermediate_value(trial: Trial, step: int, value: float) -> None:
    """Store an evaluation. `Trial.report` would ignore a step that an earlier attempt has reported."""
    trial.storage.set_trial_intermediate_value(trial._trial_id, step, value)


def should_prune(rows: optuna.Study, trial: Trial) -> bool:
    """Ask the pruner about the stored row; `Trial.should_prune` reads a copy that may be old."""
    return rows.pruner.prune(rows, rows._storage.get_trial(trial._trial_id))


def suggest(trial: Trial, distributions: dict[str, BaseDistribution]) -> dict[str, Any]:
    """Return the sampled values of a row; existing values stay, so that an interrupted ask is completed."""
    with warnings.catch_warnings():
        # Optuna warns of grid values that its own rounding moves off the range.
        warnings.simplefilter("ignore")
        return {name: _suggest(trial, name, distribution) for name, distribution in distributions.items()}


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution():
            low, high = distribution.low, distribution.high
            return trial.suggest_float(name, low, high, step=distribution.step, log=distribution.log)
        case IntDistribution():
            low, high = distribution.low, distribution.high
            return trial.suggest_int(name, low, high, step=distribution.step, log=distribution.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
    raise TypeError(f"unknown distribution {distribution}")


def mark_infeasible(trial: Trial, reason: str, *, excess: float = 1.0) -> None:
    """Mark a point that fits no worker: a constraint for samplers, the reason as an attribute for people.

    Args:
        trial: its row.
        reason: one line.
        excess: memory above the limit as a share of the limit; a sampler prefers what exceeds it by less.
    """
    if not trial.storage.get_trial(trial._trial_id).constraints:
        trial.set_constraint(_MEMORY_CONSTRAINT, excess)
    trial.set_user_attr("infeasible", reason)


def tell_row(rows: optuna.Study, number: int, state: TrialState, value: float | None = None) -> None:
    """Finish a row; a second call changes nothing."""
    try:
        with warnings.catch_warnings():
            # CMA-ES warns at every infeasible trial that it ignores constraints.
            warnings.simplefilter("ignore", UserWarning)
            rows.tell(number, value, state=state, skip_if_finished=True)
    except RuntimeError as error:
        # The grid sampler stops its study on the last point, after the state is written.
        if "Study.stop" not in str(error):
            raise
