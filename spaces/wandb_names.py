"""Rules of Weights & Biases for names; it would tell of a broken one only when runs are written."""

from typing import Final

from loratory.spaces.rules import broken_rule, shown

_NOT_IN_A_PROJECT: Final = "/\\#?%:"
_NOT_IN_AN_ENTITY: Final = _NOT_IN_A_PROJECT + "@,;'\""
_LONGEST_PROJECT, _LONGEST_TAG = 128, 64


def check_project(name: str) -> None:
    """Raise an error for a project that W&B refuses; the rule is that of `wandb.Settings.project`."""
    team, slash, project = name.partition("/")
    remedy = (
        f": write entity: {team} and project: {project}" if slash and _plain(team) and _plain(project) else ""
    )
    _check_characters(name, _NOT_IN_A_PROJECT, remedy)
    if len(name) > _LONGEST_PROJECT:
        raise broken_rule(f"must be at most {_LONGEST_PROJECT} characters, got {len(name)}: shorten it")


def check_entity(name: str) -> None:
    """Raise an error for what cannot be a user or a team: names are letters, digits, `-`, `_` and `.`."""
    _check_characters(name, _NOT_IN_AN_ENTITY, ": write the name of a user or team alone")
    if any(character.isspace() for character in name):
        raise broken_rule(f"must have no spaces, got {shown(name)}: write the name as it stands in its URL")


def check_tag(tag: str, place: int) -> None:
    """Raise an error for a tag that W&B refuses; the rule is that of `wandb.Settings.run_tags`."""
    if not 1 <= len(tag) <= _LONGEST_TAG:
        raise broken_rule(f"must be 1 to {_LONGEST_TAG} characters, got {len(tag)}", at=(place,))


def _check_characters(name: str, forbidden: str, remedy: str) -> None:
    if not name.strip():
        raise broken_rule(f"must not be empty, got {shown(name)}: name it, or leave the key out")
    if set(name) & set(forbidden) or not name.isprintable():
        raise broken_rule(f"must be free of {' '.join(forbidden)} and line breaks, got {shown(name)}{remedy}")


def _plain(part: str) -> bool:
    return bool(part.strip()) and not set(part) & set(_NOT_IN_A_PROJECT)
