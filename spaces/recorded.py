"""Rules that came after a study was recorded do not make its record unreadable."""

from typing import Any, Final

from pydantic import ValidationInfo

RECORDED: Final[dict[str, Any]] = {"recorded": True}
"""Context for `StudySpec.model_validate` of a spec in study.json, which was valid when it was written."""


def is_recorded(info: ValidationInfo) -> bool:
    """Return whether a spec is read from study.json, and not from a study file."""
    return bool(info.context and info.context.get("recorded"))
