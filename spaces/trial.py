"""One trial fully resolved: all that a worker is sent."""

import hashlib
from typing import Any

from loratory.spaces.frozen import Frozen
from loratory.spaces.study import StudySpec
from loratory.spaces.training import TrainingParameters


class TrialSpec(Frozen):
    """What a worker needs to know of a trial, beside the study's model and data."""

    number: int
    """Number in the study, from 0; the Optuna trial has the same."""
    attempt: int
    """From 1; a retry or a resume is a new attempt with the same number and seed."""
    seed: int
    """Seeds initial weights, data order and dropout."""
    params: dict[str, Any]
    """The sampled values, as the study file writes them."""
    training: TrainingParameters
    """Sampled and fixed values merged."""


def resolve_trial(study: StudySpec, *, number: int, attempt: int, sampled: dict[str, Any]) -> TrialSpec:
    """The trial that runs when Optuna sampled these values.

    Args:
        study: the study it belongs to.
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
    """A 31-bit seed for a trial, unrelated to its neighbours' and the same on every machine."""
    digest = hashlib.sha256(f"{study_seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
