"""Run a study: its owner, driver, workers and command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loratory.search.session import StudyResult
    from loratory.search.study_run import confirm_study, run_study

__all__ = ["StudyResult", "confirm_study", "run_study"]


def __getattr__(name: str) -> Any:
    # Lazy, because workers import this package too and need none of the driver's libraries.
    if name in __all__:
        from loratory.search import study_run

        return getattr(study_run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
