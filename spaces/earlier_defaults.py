"""A study keeps the defaults of the version that it began with, also for keys that came later."""

from typing import Any

from pydantic import BaseModel, RootModel

from loratory.spaces.earlier_names import renamed_spec
from loratory.spaces.study import StudySpec

DEFAULTS: dict[int, dict[str, Any]] = {
    1: {
        "training": {"schedule": "cosine"},
        "model": {"gradient_checkpointing": False},
        "data": {
            "adapt_turns": False,
            "eval_fraction": 0.1,
            "max_length": 1024,
            "stratify": False,
            "near_duplicates": "whole",
        },
        "evaluation": {"dev_examples": 64, "confirm_examples": 0},
    }
}
"""Version to the keys of the study file that had another default then, nested as in the file.

A key that came later stands here too where its default changes what a study computes, with the value that
leaves it as it was. Values have the names that they had then. Version 2 is the present one.
"""

_NO_CONFIRM = 0
"""`evaluation.confirm_examples` of a study that began before the key came, in whatever version."""

_OF_ONE_OBJECTIVE = ("model", "data", "toy")


def as_begun_with(version: int, study: StudySpec) -> StudySpec:
    """Return a study whose file leaves keys out, as the version that it began with understood them.

    Args:
        version: of study.json, when the study began.
        study: as its file reads today.
    """
    earlier = DEFAULTS.get(version)
    if not earlier:
        return study
    given = _given(study) | {"space": study.space.model_dump(mode="json")}
    return StudySpec.model_validate(with_defaults_of(version, given))


def with_later_keys(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a recorded spec; a key that came later has the value that changes nothing."""
    evaluation = spec.get("evaluation", {})
    if not isinstance(evaluation, dict) or "confirm_examples" in evaluation:
        return spec
    return {**spec, "evaluation": {**evaluation, "confirm_examples": _NO_CONFIRM}}


def as_recorded(recorded: StudySpec, study: StudySpec) -> StudySpec:
    """Return a study whose file leaves a later key out, with the value that was recorded for it.

    Args:
        recorded: the spec of study.json.
        study: as its file reads today.
    """
    evaluation = study.evaluation
    if recorded.evaluation.confirm_examples != _NO_CONFIRM or evaluation.confirm_examples is not None:
        return study
    evaluation = evaluation.model_copy(update={"confirm_examples": _NO_CONFIRM})
    return study.model_copy(update={"evaluation": evaluation})


def with_defaults_of(version: int, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a recorded spec with a version's defaults in the place of missing keys.

    Values that had other names then have their present names.
    """
    filled = _filled(spec, DEFAULTS.get(version, {}))
    if isinstance(training := filled.get("training"), dict):
        filled["training"] = {n: v for n, v in training.items() if n not in (filled.get("space") or ())}
    return renamed_spec(version, filled)


def _filled(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    filled = dict(given)
    for name, default in defaults.items():
        if isinstance(default, dict):
            # A section that the study does not have stays away: model and data are of one objective only.
            if filled.get(name, None if name in _OF_ONE_OBJECTIVE else {}) is not None:
                filled[name] = _filled(filled.get(name, {}), default)
        else:
            # None of these keys could be null then: a null comes from a later default.
            filled[name] = default if filled.get(name) is None else filled[name]
    return filled


def _given(model: BaseModel) -> dict[str, Any]:
    """The values that a file gives itself, nested, without defaults."""
    values = {name: getattr(model, name) for name in model.model_fields_set}
    sections = {n: v for n, v in values.items() if isinstance(v, BaseModel) and not isinstance(v, RootModel)}
    return values | {name: _given(section) for name, section in sections.items()}
