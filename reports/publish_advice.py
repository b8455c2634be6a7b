"""How the adapter that a study chose is published: the command, or why there is none."""

import re
from pathlib import Path

from loratory.objectives.study_folder import ADAPTER_CONFIG, StudyFolder
from loratory.reports.comparison_report import PublishAdvice, ScoredTrial
from loratory.reports.hub_ids import find_base_id
from loratory.reports.ranking import NOT_THERE
from loratory.reports.staging_checks import read_config
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_LONGEST_NAME = 90


def publish_advice(folder: StudyFolder, spec: StudySpec, trial: ScoredTrial | None) -> PublishAdvice | None:
    """Return how a trial's adapter is published; None without a trial.

    Args:
        folder: the study folder.
        spec: the study.
        trial: the trial that the study chose.
    """
    if trial is None:
        return None
    if trial.adapter is None or spec.model is None:
        return PublishAdvice(note=f"{no_adapter(trial)}.")
    options = ("--repo", f"me/{_repository(spec.name)}")
    if find_base_id(spec, recorded=_recorded_base(folder.adapter(trial.key))) is not None:
        return PublishAdvice(options=options)
    return PublishAdvice(
        options=(*options, "--base-id", "me/BASE"),
        note=f"Replace me/BASE by the id of the base on the Hub: upload {spec.model.base} there first.",
    )


def no_adapter(trial: ScoredTrial) -> str:
    """Return why a trial has no adapter to publish."""
    if trial.adapter_removed is not None:
        end = "missing" if trial.adapter_removed == NOT_THERE else "deleted"
        return f"Trial {trial.shown} cannot be published: its adapter is {end} ({trial.adapter_removed})"
    return f"Trial {trial.shown} has no adapter to publish"


def _recorded_base(adapter: Path) -> str | None:
    try:
        recorded = read_config(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    except InputError:
        return None
    return recorded if isinstance(recorded, str) else None


def _repository(study: str) -> str:
    """Return a study's name as one that the Hub allows for a repository."""
    joined = re.sub(r"([.-])[.-]+", r"\1", study)[:_LONGEST_NAME].rstrip(".-")
    return joined.removesuffix(".git") or "adapter"
