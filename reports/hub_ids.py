"""Names on the Hub: of the repository to publish, of the base, of the data."""

import re
from pathlib import Path

from loratory.objectives.data.files import READERS
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hub id; a relative path may have it too."""
    formed = bool(_ID.fullmatch(name)) and "--" not in name and ".." not in name
    return formed and not name.endswith(".git") and Path(name).suffix.lower() not in READERS


def check_repo_id(repo_id: str) -> None:
    """Refuse a repository that is not `owner/name`.

    Raises:
        InputError: it is not.
    """
    name = repo_id.partition("/")[2]
    formed = _ID.fullmatch(repo_id) and name and len(repo_id) <= 96
    if not formed or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise InputError(f"--repo must be owner/name as the Hub allows it, got {repo_id!r}")


def resolve_base_id(spec: StudySpec, *, recorded: str | None, given: str | None) -> str:
    """The Hub id that a published adapter names as its base.

    Args:
        spec: the study.
        recorded: the base in the adapter's own configuration; None where it was trained on a folder, which
            `model.base` alone does not tell.
        given: what the user names; goes before `model.hub_id`, which goes before what is recorded.

    Raises:
        InputError: the study trains no base, or no Hub id of it is known.
    """
    if spec.model is None:
        raise InputError(
            f"publish needs a study that trains adapters, {spec.name} is of objective {spec.objective.value}"
        )
    for key, name in (("--base-id", given), ("model.hub_id", spec.model.hub_id)):
        if name is not None and not is_hub_id(name):
            raise InputError(f"{key} must be a Hub id such as owner/name, got {name!r}")
    base = given or spec.model.hub_id or recorded
    if base is None or not is_hub_id(base):
        raise InputError(
            f"the base of a published adapter must be on the Hub, {spec.model.base!r} was no Hub id when the "
            "adapter was trained: publish the base, then name its id with --base-id (before a study begins: "
            "model.hub_id)"
        )
    return base


def dataset_hub_id(spec: StudySpec) -> str | None:
    """The training data's Hub id, without the split; None where it is no data set of the Hub.

    A folder is known by lying where the study was run; nothing else tells it from an id.
    """
    if spec.data is None or spec.data.train.startswith("builtin:"):
        return None
    name = spec.data.train.partition(":")[0]
    return name if is_hub_id(name) and not Path(name).exists() else None
