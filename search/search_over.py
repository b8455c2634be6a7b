"""Check that the search of a study is over, so that its settings may be trained again."""

from loratory.objectives.study_folder import StudyFolder
from loratory.search.status import study_status
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec


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
            f"{status.limit} trials are finished; go on with the command that began the study, or "
            "lower `trials` in its file"
        )
    if status.best_number is None:
        raise InputError(f"{folder.path}: a trial must have a score to be trained again, none has")
