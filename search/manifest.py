"""study.json: written when a study begins, compared with the study file when it is resumed."""

import subprocess
import uuid
from dataclasses import replace
from typing import Any

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.manifest import Manifest
from loratory.objectives.objective import Beginning, Prepared
from loratory.objectives.records import SCHEMA_VERSION
from loratory.objectives.study_folder import StudyFolder
from loratory.objectives.versions import read_fields
from loratory.spaces.earlier_defaults import as_begun_with, as_recorded
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

# These change how far and how a study goes on, not what its trials are.
CHANGEABLE = {
    "trials",
    "time_limit_minutes",
    "attempts",
    "sampler",
    "pruner",
    "confirmation",
    "resources",
    "packing",
    "tracking",
}


def as_begun(folder: StudyFolder, study: StudySpec) -> StudySpec:
    """Return a study as the version that it began with understands its file; as it is where it begins now."""
    if not folder.manifest.is_file():
        return study
    manifest = folder.read_manifest()
    return as_recorded(manifest.spec, as_begun_with(manifest.began_with, study))


def beginning_of(folder: StudyFolder) -> Beginning:
    """Return the facts of a study's beginning: from its manifest, or of now where it begins."""
    beginning = replace(Beginning.now(), cache=folder.data)
    if folder.manifest.is_file():
        return replace(beginning, created_at=folder.read_manifest().created_at)
    return beginning


def open_manifest(
    folder: StudyFolder, study: StudySpec, prepared: Prepared, beginning: Beginning
) -> Manifest:
    """Return the manifest of a study that begins or goes on, and write it where it says something new.

    Args:
        folder: the study folder.
        study: the study, as the version that it began with understands its file.
        prepared: hashes of base and data, sizes of the splits, checks of the base.
        beginning: when the study began.

    Raises:
        InputError: the study file or its data changed in a way that contradicts the records.
    """
    if not folder.manifest.is_file():
        manifest = Manifest(
            uuid=str(uuid.uuid4()),
            spec=study,
            hashes=prepared.hashes,
            created_at=beginning.created_at,
            splits=prepared.splits,
            checks=list(prepared.checks),
        )
        write_atomically(folder.manifest, manifest.to_json().encode())
        return manifest
    earlier = folder.read_manifest()
    check_fits(folder, earlier, study)
    _check_hashes(folder, earlier.hashes, prepared.hashes)
    if study.confirmation is None:
        # What `loratory confirm` was asked for is in no study file.
        study = study.model_copy(update={"confirmation": earlier.spec.confirmation})
    manifest = replace(earlier, spec=study, hashes=prepared.hashes, checks=list(prepared.checks))
    if manifest.to_json() != earlier.to_json():
        _keep_first(folder)
        write_atomically(folder.manifest, manifest.to_json().encode())
    return manifest


def _keep_first(folder: StudyFolder) -> None:
    """Keep study.json of an earlier version beside the one that takes its place."""
    written = folder.manifest.read_bytes()
    version = read_fields(written, str(folder.manifest))["schema_version"]
    if version < SCHEMA_VERSION and not folder.first_manifest.is_file():
        write_atomically(folder.first_manifest, written)


def forget_beginning(folder: StudyFolder) -> None:
    """Let a study begin anew where nothing was recorded: a first mistake in its file can be mended."""
    if folder.has_records or not folder.manifest.is_file() or folder.read_manifest().spec.storage is not None:
        return
    folder.manifest.unlink()
    folder.database.unlink(missing_ok=True)


def check_fits(folder: StudyFolder, earlier: Manifest, study: StudySpec) -> None:
    """Check a study file against that of the study folder.

    Raises:
        InputError: keys that trials depend on have changed; the message names all of them.
    """
    old, new = (spec.without_secrets().model_dump(mode="json") for spec in (earlier.spec, study))
    changed = [key for key in new if key not in CHANGEABLE and old.get(key) != new[key]]
    if changed:
        lines = [
            f"{path} was {was!r}, is {now!r}"
            for key in changed
            for path, was, now in _leaves(key, old[key], new[key])
        ]
        raise InputError(
            f"{folder.path}: study file must fit what was recorded, but {'; '.join(lines)}: "
            "change it back, or give the study another name"
        )


def _leaves(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [leaf for key in keys for leaf in _leaves(f"{path}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [(path, old, new)]


def _check_hashes(folder: StudyFolder, old: dict[str, str], new: dict[str, str]) -> None:
    for name, value in new.items():
        if old.get(name) != value:
            raise InputError(
                f"{folder.path}: {name} must be what the study began with (hash {old.get(name)}), "
                f"its content changed (hash {value}); restore it, or give the study another name"
            )


def git_state() -> str | None:
    """Return the commit of the working directory, with `+changes` if any; None outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip()
