"""One fully resolved trial: all that a worker receives."""

import hashlib
from typing import Any

from loratory.spaces.frozen import Frozen
from loratory.spaces.study import StudySpec
from loratory.spaces.training import TrainingParameters


class TrialSpec(Frozen):
    """All that a worker needs for a trial, besides the model and data of the study."""

    number: int
    """Number in the study, from 0; the Optuna trial has the same."""
    attempt: int
    """Counts from 1; a retry or a resume is a new attempt with the same number and seed."""
    seed: int
    """Seed of initial weights, data order and dropout."""
    params: dict[str, Any]
    """The sampled values, as the study file writes them."""
    training: TrainingParameters
    """Sampled and fixed values merged."""


def resolve_trial(study: StudySpec, *, number: int, attempt: int, sampled: dict[str, Any]) -> TrialSpec:
    """Resolve the trial of values that Optuna sampled.

    Args:
        study: the study of the trial.
        number: Optuna's trial number.
        attempt: 1 for the first.
        sampled: values as Optuna stores them.
    """
    params = study.space.decode(sampled)
    return TrialSpec(
        number=number,
        attempt=attempt,
        seed=derive_seed(study.seed, number),
        params=params,
        training=study.resolve(params),
    )


def derive_seed(study_seed: int, number: int) -> int:
    """Derive the 31-bit seed of a trial: independent of other trials, and equal on every machine."""
    digest = hashlib.sha256(f"{study_seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
