"""study.json: the resolved spec of a study, and the version that the study began with."""

from dataclasses import dataclass, field
from typing import Any

from loratory.objectives import version_1
from loratory.objectives.records import SCHEMA_VERSION, Check
from loratory.objectives.versions import fault, read_fields, seal
from loratory.spaces.earlier_defaults import with_later_keys
from loratory.spaces.errors import LoratoryError
from loratory.spaces.recorded import RECORDED
from loratory.spaces.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Content of study.json.

    Attributes:
        uuid: identity of the study, independent of the folder's name; run ids are made from it.
        spec: the study file with all defaults filled in.
        hashes: content hashes of base and data, by name.
        created_at: UTC time at which the study began, ISO 8601; chat templates use its date.
        began_with: version of study.json when the study began; its defaults, schedules and splits stay.
        splits: number of examples in each split, by name; null if the objective has none, and in version 1.
        checks: checks of the base on the driver; empty until a check is made.
        schema_version: version of the file.
    """

    uuid: str
    spec: StudySpec
    hashes: dict[str, str]
    created_at: str
    began_with: int = SCHEMA_VERSION
    splits: dict[str, int] | None = None
    checks: list[Check] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the text of study.json in the present version."""
        fields = {
            **vars(self),
            "spec": self.spec.without_secrets().model_dump(mode="json"),
            "checks": [check.model_dump(mode="json") for check in self.checks],
        }
        return seal(fields).decode()

    @classmethod
    def from_json(cls, data: bytes, place: str) -> "Manifest":
        """Read a manifest of this version or an earlier one.

        Raises:
            LoratoryError: a newer loratory wrote it, or it is damaged.
        """
        try:
            fields = read_fields(data, place)
            if fields["schema_version"] == 1:
                fields = version_1.manifest(fields)
            return cls(**_parsed(fields))
        except (ValueError, TypeError, KeyError) as error:
            raise LoratoryError(f"{place}: must be a study manifest, is damaged: {fault(error)}") from error


def _parsed(fields: dict[str, Any]) -> dict[str, Any]:
    for name, kind in (("uuid", str), ("hashes", dict), ("created_at", str), ("began_with", int)):
        if not isinstance(fields.get(name, kind()), kind):
            raise ValueError(f"{name} must be of type {kind.__name__}, got {fields[name]!r}")
    checks = [Check.model_validate(check) for check in fields.get("checks", [])]
    spec = with_later_keys(fields["spec"]) if isinstance(fields["spec"], dict) else fields["spec"]
    return {**fields, "spec": StudySpec.model_validate(spec, context=RECORDED), "checks": checks}
