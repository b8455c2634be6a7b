"""study.json: written when a study begins, compared with the study file when it is resumed."""

import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

from loratory.objectives.study_folder import Manifest, StudyFolder, write_atomically
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

# These change how far and how a study goes on, not what its trials are.
CHANGEABLE = {
    "trials",
    "time_limit_minutes",
    "attempts",
    "sampler",
    "pruner",
    "resources",
    "packing",
    "tracking",
}


def open_manifest(folder: StudyFolder, study: StudySpec, hashes: dict[str, str]) -> Manifest:
    """Write and return the manifest of a new or resumed study.

    Raises:
        InputError: the study file or its data changed in a way that contradicts the records.
    """
    if not folder.manifest.is_file():
        created = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(uuid=str(uuid.uuid4()), spec=study, hashes=hashes, created_at=created)
    else:
        earlier = folder.read_manifest()
        check_fits(folder, earlier, study)
        _check_hashes(folder, earlier.hashes, hashes)
        manifest = Manifest(uuid=earlier.uuid, spec=study, hashes=hashes, created_at=earlier.created_at)
    write_atomically(folder.manifest, manifest.to_json().encode())
    return manifest


def forget_beginning(folder: StudyFolder) -> None:
    """Remove the manifest of a study without records, so that a mistake in its file can be corrected."""
    recorded = next(folder.path.glob("**/record.json"), None)
    if (
        recorded is not None
        or not folder.manifest.is_file()
        or folder.read_manifest().spec.storage is not None
    ):
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
