"""Values of the study file that had another name in the version that a study began with."""

from collections.abc import Mapping
from typing import Any, Final

from loratory.spaces.languages import LANGUAGES, language_of_code

SCHEDULES_OF_VERSION_1: Final[Mapping[str, str]] = {
    "cosine": "cosine_nonzero_start",
    "linear": "linear_nonzero_start",
    "constant": "constant_nonzero_start",
}
"""Names in version 1 to the present names of the same schedules."""


def renamed_spec(version: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a study's spec with the present names, which mean what the earlier ones meant.

    Args:
        version: version of study.json when the study began.
        spec: fields as JSON values, nested as in the study file.
    """
    if version > 1:
        return dict(spec)
    fields = dict(spec)
    if "training" in fields:
        fields["training"] = renamed_params(version, fields["training"])
    if isinstance(space := fields.get("space"), Mapping) and "schedule" in space:
        fields["space"] = {**space, "schedule": _renamed_choices(space["schedule"])}
    if isinstance(evaluation := fields.get("evaluation"), Mapping):
        fields["evaluation"] = {**evaluation, **_renamed_language(evaluation.get("language"))}
    return fields


def renamed_params(version: int, params: Any) -> Any:
    """Return hyperparameters of a trial with the present names of their values; what is no mapping stays."""
    if version > 1 or not isinstance(params, Mapping):
        return params
    if not isinstance(schedule := params.get("schedule"), str):
        return params
    return {**params, "schedule": SCHEDULES_OF_VERSION_1.get(schedule, schedule)}


def _renamed_choices(parameter: Any) -> Any:
    """Return a list of schedules with the present names; the storage keeps the earlier ones."""
    listed = parameter.get("choices") if isinstance(parameter, Mapping) else parameter
    if not isinstance(listed, list | tuple):
        return parameter
    choices = [SCHEDULES_OF_VERSION_1.get(choice, choice) for choice in listed]
    earlier = {present: name for name, present in SCHEDULES_OF_VERSION_1.items()}
    stored = [earlier.get(choice, choice) for choice in choices]
    return {"type": "categorical", "choices": choices, "stored": stored}


def _renamed_language(language: Any) -> dict[str, Any]:
    """Return the settings that score as a language did in version 1, which took any text for one."""
    if not isinstance(language, str) or language in LANGUAGES:
        return {}
    code = language_of_code(language)
    # Where it is no code, version 1 split the words as in languages with spaces between them.
    return {"language": code} if code else {"language": None, "bleu_tokenizer": "13a"}
