"""The study file as frozen specs."""

from typing import TYPE_CHECKING, Any

from loratory.spaces.errors import InputError, LoratoryError

if TYPE_CHECKING:
    from loratory.spaces.loading import load_study
    from loratory.spaces.search_space import SearchSpace
    from loratory.spaces.study import StudySpec
    from loratory.spaces.trial import TrialSpec, resolve_trial

__all__ = [
    "InputError",
    "LoratoryError",
    "SearchSpace",
    "StudySpec",
    "TrialSpec",
    "load_study",
    "resolve_trial",
]

_MODULES = {
    "SearchSpace": "search_space",
    "StudySpec": "study",
    "TrialSpec": "trial",
    "load_study": "loading",
    "resolve_trial": "trial",
}


def __getattr__(name: str) -> Any:
    # Lazy, because `loratory --help` needs neither pydantic nor Optuna, which take a second to import.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"loratory.spaces.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
