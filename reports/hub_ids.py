"""Names on the Hub: of the repository to publish, of the base, of the data."""

import re
from pathlib import Path

from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}")
_FILES = (".jsonl", ".json", ".csv", ".parquet", ".txt")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hub id and is no file or folder here."""
    formed = bool(_ID.fullmatch(name)) and "--" not in name and ".." not in name
    return formed and not name.endswith((*_FILES, ".git")) and not Path(name).exists()


def check_repo_id(repo_id: str) -> None:
    """Refuse a repository that is not `owner/name`.

    Raises:
        InputError: it is not.
    """
    name = repo_id.partition("/")[2]
    formed = _ID.fullmatch(repo_id) and name and len(repo_id) <= 96
    if not formed or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise InputError(f"--repo must be owner/name as the Hub allows it, got {repo_id!r}")


def resolve_base_id(spec: StudySpec, given: str | None) -> str:
    """The Hub id that a published adapter names as its base.

    Args:
        spec: the study.
        given: what the user names; goes before `model.hub_id`, which goes before `model.base`.

    Raises:
        InputError: the study trains no base, or all that is known of it is a folder.
    """
    if spec.model is None:
        raise InputError(
            f"publish needs a study that trains adapters, {spec.name} is of objective {spec.objective.value}"
        )
    for key, name in (("--base-id", given), ("model.hub_id", spec.model.hub_id)):
        if name is not None and not is_hub_id(name):
            raise InputError(f"{key} must be a Hub id such as owner/name, got {name!r}")
    base = given or spec.model.hub_id or spec.model.base
    if not is_hub_id(base):
        raise InputError(
            f"the base of a published adapter must be on the Hub, {base!r} is not: publish the base, then "
            "name its id in model.hub_id or with --base-id"
        )
    return base


def dataset_hub_id(spec: StudySpec) -> str | None:
    """The training data's Hub id, where it has one."""
    return spec.data.train if spec.data and is_hub_id(spec.data.train) else None
