"""Hub ids of the published repository, the base and the data."""

import re
from pathlib import Path

from loratory.objectives.data.files import READERS
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}")


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a Hub id; a relative path may have it too."""
    formed = bool(_ID.fullmatch(name)) and "--" not in name and ".." not in name
    return formed and not name.endswith(".git") and Path(name).suffix.lower() not in READERS


def check_repo_id(repo_id: str) -> None:
    """Refuse a repository that is not `owner/name`.

    Raises:
        InputError: it has another form.
    """
    name = repo_id.partition("/")[2]
    formed = _ID.fullmatch(repo_id) and name and len(repo_id) <= 96
    if not formed or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise InputError(f"--repo must be owner/name as the Hub allows it, got {repo_id!r}")


def find_base_id(spec: StudySpec, *, recorded: str | None, given: str | None = None) -> str | None:
    """Return the Hub id of a study's base; None where it is not known.

    Args:
        spec: the study.
        recorded: the base in the adapter's configuration.
        given: the id of `--base-id`; it precedes `model.hub_id`, which precedes `recorded`.
    """
    base = given or (spec.model.hub_id if spec.model else None) or recorded
    return base if base is not None and is_hub_id(base) else None


def resolve_base_id(spec: StudySpec, *, recorded: str | None, given: str | None) -> str:
    """Return the Hub id that a published adapter names as its base.

    Args:
        spec: the study.
        recorded: the base in the adapter's configuration; None if the adapter was trained on a folder, which
            `model.base` alone does not tell.
        given: the id of `--base-id`; it precedes `model.hub_id`, which precedes `recorded`.

    Raises:
        InputError: the study has no base, or the Hub id of its base is unknown.
    """
    if spec.model is None:
        raise InputError(
            f"publish needs a study that trains adapters, {spec.name} is of objective {spec.objective.value}"
        )
    for key, name in (("--base-id", given), ("model.hub_id", spec.model.hub_id)):
        if name is not None and not is_hub_id(name):
            raise InputError(f"{key} must be a Hub id such as owner/name, got {name!r}")
    base = find_base_id(spec, recorded=recorded, given=given)
    if base is None:
        raise InputError(
            f"the base of a published adapter must be on the Hub, {spec.model.base!r} was no Hub id when the "
            "adapter was trained: publish the base, then name its id with --base-id (before a study begins: "
            "model.hub_id)"
        )
    return base


def dataset_hub_id(spec: StudySpec) -> str | None:
    """Return the Hub id of the training data without the split; None if it is no data set of the Hub.

    A name is taken for a local folder if it exists in the working directory; an id may look the same.
    """
    if spec.data is None or spec.data.train.startswith("builtin:"):
        return None
    name = spec.data.train.partition(":")[0]
    return name if is_hub_id(name) and not Path(name).exists() else None
