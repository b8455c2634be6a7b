"""One fully resolved trial: all that a worker receives."""

import hashlib
import re
from typing import Any

from loratory.spaces.frozen import Frozen
from loratory.spaces.study import StudySpec
from loratory.spaces.training import TrainingParameters


class TrialSpec(Frozen):
    """All that a worker needs for a trial, besides the model and data of the study."""

    key: str
    """Names the trial in its study: `0011` in the search, `confirm/0011-2` of a retraining."""
    number: int | None
    """Number of its row in the Optuna storage, from 0; null for a trial that has no row."""
    attempt: int
    """Counts from 1; a retry or a resume is a new attempt with the same key and seed."""
    seed: int
    """Seed of initial weights, data order and dropout."""
    params: dict[str, Any]
    """The sampled values, as the study file writes them."""
    training: TrainingParameters
    """Sampled and fixed values merged."""


def trial_key(number: int) -> str:
    """Return the key of a trial of the search, such as `0011`."""
    return f"{number:04d}"


def retraining_key(number: int, index: int) -> str:
    """Return the key of a retraining, such as `confirm/0011-2`.

    Args:
        number: the trial whose settings it has.
        index: counts the new seeds of these settings, from 1.
    """
    return f"confirm/{trial_key(number)}-{index}"


def parse_retraining_key(key: str) -> tuple[int, int]:
    """Return the trial's number and the index of a key that `retraining_key` made.

    Raises:
        ValueError: the key is another.
    """
    found = re.fullmatch(r"confirm/(\d{4,})-(\d+)", key)
    if found is None:
        raise ValueError(f"key of a retraining must be like confirm/0011-2, got {key}")
    return int(found[1]), int(found[2])


def key_of_name(name: str) -> str:
    """Return the key of the trial that a user named: `11`, `0011`, `trial 11`, `#11`, `confirm/11-2`.

    Returns:
        The key; a name of another form as it is.
    """
    if found := re.fullmatch(r"(?:trial[ _-]?|#)?(\d+)", name.strip(), re.IGNORECASE):
        return trial_key(int(found[1]))
    if found := re.fullmatch(r"confirm/(\d+)-(\d+)", name.strip()):
        return retraining_key(int(found[1]), int(found[2]))
    return name


def key_in_a_name(key: str) -> str:
    """Return a key as a part of a file's name or of a run's id: without a slash."""
    return key.replace("/", "-")


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
        key=trial_key(number),
        number=number,
        attempt=attempt,
        seed=derive_seed(study.seed, number),
        params=params,
        training=study.resolve(params),
    )


def resolve_retraining(
    study: StudySpec, *, number: int, index: int, attempt: int, params: dict[str, Any]
) -> TrialSpec:
    """Resolve a training of a trial's settings on a new seed.

    Args:
        study: the study of the trial.
        number: the trial's number.
        index: counts the new seeds of these settings, from 1.
        attempt: 1 for the first.
        params: the trial's sampled values, as the study file writes them.
    """
    return TrialSpec(
        key=retraining_key(number, index),
        number=None,
        attempt=attempt,
        seed=derive_seed(study.seed, number, index),
        params=params,
        training=study.resolve(params),
    )


def derive_seed(study_seed: int, *place: int) -> int:
    """Derive the 31-bit seed of a trial: independent of other trials, and equal on every machine.

    Args:
        study_seed: seed of the study.
        place: number of the trial, and the index of a retraining.
    """
    digest = hashlib.sha256(":".join(map(str, (study_seed, *place))).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
