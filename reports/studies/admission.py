"""Which studies can be compared, and how their evaluations differ."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from loratory.objectives.manifest import Manifest
from loratory.objectives.study_folder import StudyFolder
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_SETTINGS = ("max_new_tokens", "score_thoughts", "extract")
"""Settings of the evaluation that decide what is scored, and are no part of the metric's signature."""


def check_comparable(folders: Sequence[StudyFolder], manifests: Sequence[Manifest]) -> None:
    """Refuse studies whose published adapters cannot be compared by one metric.

    Args:
        folders: the study folders.
        manifests: their study.json.

    Raises:
        InputError: there is one study alone, one is there twice, or their metrics differ.
    """
    if len(folders) < 2:
        raise InputError(f"must name two studies or more to compare, got {len(folders)}")
    named = list(zip(folders, manifests, strict=True))
    for (one, first), (other, second) in combinations(named, 2):
        if first.uuid == second.uuid:
            raise InputError(
                f"must name different studies; {one.path} and {other.path} are one and the same "
                f"(uuid {first.uuid})"
            )
    first_folder, first = named[0]
    for other, manifest in named[1:]:
        if manifest.spec.metric != first.spec.metric:
            raise InputError(
                f"studies are compared by the same metric; {first_folder.path} has {first.spec.metric}, "
                f"{other.path} {manifest.spec.metric}"
            )


def differing_settings(labels: Sequence[str], specs: Sequence[StudySpec]) -> list[str]:
    """Return a line for each setting of the evaluation in which studies differ.

    Args:
        labels: labels of the studies.
        specs: their study files.
    """
    lines = []
    for name in (*_SETTINGS, "prompt_template"):
        values = [_setting(spec, name) for spec in specs]
        if any(value != values[0] for value in values):
            told = ", ".join(f"{value!r} in {label}" for label, value in zip(labels, values, strict=True))
            section = "data" if name == "prompt_template" else "evaluation"
            lines.append(f"The evaluations differ in {section}.{name}: {told}.")
    return lines


def _setting(spec: StudySpec, name: str) -> Any:
    if name == "prompt_template":
        return spec.data.prompt_template if spec.data else None
    return getattr(spec.evaluation, name)
