"""Which settings of a study are trained again, and whether that may begin or is done."""

from collections.abc import Sequence

from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.ranking import order
from loratory.search.status import study_status
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import retraining_key


def best_settings(
    trials: Sequence[TrialRecord], direction: Direction, confirmation: ConfirmationSpec
) -> list[int]:
    """Return the numbers of the trials whose settings are trained again, the best first.

    Fewer than `confirmation.top` where fewer trials have a score.
    """
    return [record.row for record in order(trials, direction)[: confirmation.top]]


def retraining_keys(numbers: Sequence[int], confirmation: ConfirmationSpec) -> list[str]:
    """Return the keys of all trainings: the first seed of every setting, then the second, and so on."""
    indices = range(1, confirmation.seeds + 1)
    return [retraining_key(number, index) for index in indices for number in numbers]


def is_retrained(folder: StudyFolder, study: StudySpec, confirmation: ConfirmationSpec) -> bool:
    """Return whether every training of the best settings has its end.

    Args:
        folder: the study folder.
        study: the study.
        confirmation: how many settings are trained again, and how often.
    """
    numbers = best_settings(folder.read_records(), study.metric_direction, confirmation)
    records = {record.key: record for record in folder.read_retrained()}
    every = all(record.state.finished for record in records.values())
    return every and all(key in records for key in retraining_keys(numbers, confirmation))


def check_over(folder: StudyFolder, study: StudySpec) -> None:
    """Check that the search of a study is over, and has settings that can be trained again.

    Raises:
        InputError: trials are left, or none has a score.
    """
    status = study_status(folder)
    minutes = study.time_limit_minutes
    time_is_up = minutes is not None and status.active_seconds > 60 * minutes
    if status.trials or (status.done < status.limit and not time_is_up):
        raise InputError(
            f"{folder.path}: the search must be over before its settings are trained again, {status.done} of "
            f"{status.limit} trials are finished; go on with `loratory run`, or lower `trials` in its file"
        )
    if status.best_number is None:
        raise InputError(f"{folder.path}: a trial must have a score to be trained again, none has")
