"""Who tries what, where: the owner of a study, its driver, workers and command line."""

from loratory.search.study_run import StudyResult, run_study

__all__ = ["StudyResult", "run_study"]
