"""The study that `loratory quickstart` runs."""

from collections.abc import Sequence
from importlib.resources import as_file, files

from loratory.spaces.loading import load_study
from loratory.spaces.study import StudySpec


def quickstart_study(overrides: Sequence[str] = ()) -> StudySpec:
    """The study file that comes with loratory, with overrides as for `run --set`."""
    with as_file(files("loratory.objectives.quickstart") / "study.yaml") as path:
        return load_study(path, overrides)
