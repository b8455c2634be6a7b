"""JSON files with a version and a checksum: how they are written, and what of them can be read."""

import hashlib
import json
from typing import Any, TypeVar
from zipfile import BadZipFile

from pydantic import ValidationError

from loratory.objectives import version_1
from loratory.objectives.records import SCHEMA_VERSION, ScoreRecord, TrialRecord
from loratory.spaces.errors import LoratoryError

_Record = TypeVar("_Record", TrialRecord, ScoreRecord)
_UPGRADES = {TrialRecord: version_1.trial_record, ScoreRecord: version_1.score_record}


def seal(fields: dict[str, Any]) -> bytes:
    """Return the file of some fields, with the checksum of them as its last field.

    Args:
        fields: plain JSON values.
    """
    return json.dumps({**fields, "checksum": checksum(fields)}, indent=1).encode()


def checksum(fields: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of the fields' canonical JSON, `checksum` itself left out.

    Canonical: keys sorted, no spaces, ASCII, numbers as Python writes them.
    """
    others = {name: value for name, value in fields.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record_to_bytes(record: TrialRecord | ScoreRecord) -> bytes:
    """Return a record's file, always of the present version."""
    return seal(record.model_dump(mode="json"))


def record_from_bytes(kind: type[_Record], data: bytes, place: str) -> _Record:
    """Return the record in a file of this version or an earlier one.

    Args:
        kind: what the file holds.
        data: its content.
        place: where it lies, for messages.

    Raises:
        LoratoryError: a newer loratory wrote it, or it is damaged.
    """
    try:
        fields = read_fields(data, place)
        if fields["schema_version"] == 1:
            fields = _UPGRADES[kind](fields)
        return kind.model_validate(fields)
    except (ValueError, TypeError, KeyError) as error:
        raise LoratoryError(f"{place}: must be a record, is damaged: {fault(error)}") from error


def read_fields(data: bytes, place: str) -> dict[str, Any]:
    """Return the fields of a file without its checksum.

    Raises:
        LoratoryError: a newer loratory wrote it.
        ValueError: it is not JSON, or not an object.
    """
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError(f"must be a JSON object, got {type(fields).__name__}")
    version = fields.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"schema_version must be a whole number from 1, got {version!r}")
    if version > SCHEMA_VERSION:
        raise LoratoryError(
            f"{place}: schema_version must be at most {SCHEMA_VERSION}, got {version}; update loratory"
        )
    fields.pop("checksum", None)
    return fields


def fault(error: Exception) -> str:
    """Return what is wrong, in one line; of a file with several faults the first."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}"
        return f"it is no JSON from {place} on" if error.doc.strip() else "it is empty"
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, BadZipFile):
        return "it is no whole npz archive"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return " ".join(str(error).split())
