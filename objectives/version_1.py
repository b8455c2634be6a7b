"""Conversion of files of version 1 (loratory 0.1.0). Each function returns fields of the present version.

Fields that version 1 did not have are null or empty. Its files are rewritten only if the study continues.
"""

from typing import Any

from loratory.spaces.earlier_defaults import with_defaults_of
from loratory.spaces.earlier_names import renamed_params
from loratory.spaces.trial import trial_key


def trial_record(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a trial's record; its key is its number in four digits."""
    key = trial_key(fields["number"])
    return {**fields, "schema_version": 2, "key": key, "params": renamed_params(1, fields["params"])}


def score_record(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a scoring's record."""
    number = fields.get("number")
    return {**fields, "schema_version": 2, "trial": None if number is None else trial_key(number)}


def manifest(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of study.json, with the defaults and the schedules of version 1.

    The key `direction` is dropped: the metric implies it.
    """
    if not isinstance(fields["spec"], dict):
        raise ValueError(f"spec must be a JSON object, got {type(fields['spec']).__name__}")
    spec = {name: value for name, value in fields["spec"].items() if name != "direction"}
    return {**fields, "schema_version": 2, "began_with": 1, "spec": with_defaults_of(1, spec)}
