"""The study folder: where everything durable lies, and how it is written."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from loratory.objectives.records import SCHEMA_VERSION, CurvePoint, ScoreRecord, TrialRecord, listing_order
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.study import StudySpec

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

_Record = TypeVar("_Record", TrialRecord, ScoreRecord)


@dataclass(frozen=True)
class StudyFolder:
    """Paths and files of one study. Only the driver writes; anyone may read at any time."""

    path: Path

    @property
    def manifest(self) -> Path:
        """study.json: the spec, the study's UUID and the hashes of its inputs."""
        return self.path / "study.json"

    @property
    def database(self) -> Path:
        """study.db: Optuna's storage, where no URL is named."""
        return self.path / "study.db"

    @property
    def data(self) -> Path:
        """What cleaning removed and why; ids of the examples."""
        return self.path / "data"

    @property
    def base(self) -> Path:
        """Scores of the untuned base."""
        return self.path / "base"

    @property
    def test(self) -> Path:
        """Final scores on the test split, written once."""
        return self.path / "test"

    @property
    def report(self) -> Path:
        """The comparison report."""
        return self.path / "report"

    def trial(self, key: str) -> Path:
        """Folder of one trial: `trials/0011` of key `0011`; a key with a slash names its folder itself."""
        return self.path / key if "/" in key else self.path / "trials" / key

    def adapter(self, key: str) -> Path:
        """Folder of the adapter that a trial kept."""
        return self.trial(key) / "adapter"

    def read_manifest(self) -> "Manifest":
        """What study.json says.

        Raises:
            InputError: there is no study here.
        """
        if not self.manifest.is_file():
            raise InputError(
                f"{self.path}: must be a study folder, has no study.json; `loratory run` makes one"
            )
        return Manifest.from_json(self.manifest.read_text(encoding="utf-8"), str(self.manifest))

    def write_record(self, record: TrialRecord) -> None:
        """Replace a trial's record in one step."""
        write_atomically(self.trial(record.key) / "record.json", record.model_dump_json(indent=1).encode())

    def read_records(self) -> list[TrialRecord]:
        """Return the record of every trial of the search, by number."""
        paths = sorted(self.path.glob("trials/*/record.json"))
        return sorted((_parse(TrialRecord, path) for path in paths), key=listing_order)

    def read_score(self, folder: Path) -> ScoreRecord | None:
        """The scoring kept in a folder below this one, if it was made."""
        path = folder / "record.json"
        return _parse(ScoreRecord, path) if path.is_file() else None

    def append_curve(self, key: str, points: Iterable[CurvePoint]) -> None:
        """Add optimiser steps to a trial's curve."""
        path = self.trial(key) / "curve.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(point.model_dump_json() + "\n" for point in points)

    def read_curve(self, key: str) -> list[CurvePoint]:
        """A trial's curve; a line cut short by a crash is left out."""
        return list(_read_points(self.trial(key) / "curve.jsonl"))

    def cut_curve(self, key: str, *, after_optimizer_step: int) -> None:
        """Forget the steps after a checkpoint: they are made again."""
        kept = [p for p in self.read_curve(key) if p.optimizer_step <= after_optimizer_step]
        text = "".join(point.model_dump_json() + "\n" for point in kept)
        write_atomically(self.trial(key) / "curve.jsonl", text.encode())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """study.json. `uuid` outlives the folder's name; run ids are made from it."""

    uuid: str
    spec: StudySpec
    hashes: dict[str, str]
    created_at: str
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """The text of study.json."""
        return json.dumps(
            {**vars(self), "spec": self.spec.without_secrets().model_dump(mode="json")}, indent=1
        )

    @classmethod
    def from_json(cls, text: str, place: str) -> "Manifest":
        """The manifest in a text.

        Raises:
            LoratoryError: a newer loratory wrote it, or it is damaged.
        """
        try:
            fields = json.loads(text)
            _check_version(fields, place)
            return cls(**{**fields, "spec": StudySpec.model_validate(fields["spec"])})
        except (ValueError, TypeError, KeyError) as error:
            raise LoratoryError(f"{place}: must be a study manifest, is damaged: {error}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader or a crash sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    # The only way to read it is to set it; mkstemp would keep files from a team's other members.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _parse(kind: type[_Record], path: Path) -> _Record:
    try:
        fields = json.loads(path.read_bytes())
        _check_version(fields, str(path))
        return kind.model_validate(fields)
    except (ValueError, ValidationError) as error:
        raise LoratoryError(f"{path}: must be a record, is damaged: {error}") from error


def _check_version(fields: dict[str, object], place: str) -> None:
    version = fields.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise LoratoryError(
            f"{place}: schema_version must be at most {SCHEMA_VERSION}, got {version}; update loratory"
        )


def _read_points(path: Path) -> Iterator[CurvePoint]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield CurvePoint.model_validate_json(line)
        except ValidationError:
            return
