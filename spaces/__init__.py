"""What may be tried: the study file as frozen specs."""

from loratory.spaces.errors import InputError, LoratoryError
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
