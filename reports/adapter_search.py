"""Find the trial that an adapter folder is from, by its place or by the hash of its weights."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, RECORD, StudyFolder
from loratory.reports.staging_checks import read_config
from loratory.spaces.command_line import command
from loratory.spaces.errors import InputError, LoratoryError

_NAMES_OF_THE_BASE = {"base_model_name_or_path", "revision", "auto_mapping", "inference_mode"}
"""Keys of a configuration that `publish` or PEFT set anew, and that change nothing in the adapter."""


def find_adapter(path: Path, study: StudyFolder) -> tuple[StudyFolder, TrialRecord]:
    """Find the trial of an adapter.

    An adapter in the folder of its trial is found by its place. A copy is found by the SHA-256 of its
    weights: in `study`, in the study that it lies in (such as the staged copy in `publish/`), then in the
    studies beside `study`.

    Args:
        path: folder of an adapter, or of a trial.
        study: the study that is asked first.

    Returns:
        The study and the record of the trial.

    Raises:
        InputError: the folder holds no adapter, no study has scored it, or its files have changed since.
    """
    if (found := _by_place(path)) is not None:
        return found
    weights = path / ADAPTER_WEIGHTS
    if not weights.is_file():
        raise InputError(
            f"{path}: must be the folder of an adapter, has no {ADAPTER_WEIGHTS}; name a trial's adapter, "
            f"such as {study.adapter('0011')}, or a copy of one"
        )
    digest = _sha256(weights)
    for other in _studies(path, study):
        if (record := _with_adapter(other, digest)) is not None:
            _check_config(path, other.adapter(record.key))
            return other, record
    raise InputError(
        f"{path}: no trial of {study.path} or of the studies beside it has this adapter (sha256 "
        f"{digest[:12]}), so there are no scores to compare; name its study "
        f"(`{command('decide', study.path, 'STUDY')}`), or train its values in a study on the same eval"
    )


def _by_place(path: Path) -> tuple[StudyFolder, TrialRecord] | None:
    """Return the trial in whose folder the path is; None if it is in none."""
    # The path as it was given names the study in messages; a relative one may hide the study's folder.
    places = [p for whole in (path, path.resolve()) for p in (whole, whole.parent)]
    found = ((_around(p), p) for p in places if (p / RECORD).is_file())
    study, trial = next(((s, p) for s, p in found if s is not None), (None, None))
    if study is None or trial is None or not trial.is_relative_to(study.trial("")):
        return None
    record = study.read_record(trial.relative_to(study.trial("")).as_posix())
    weights = study.adapter(record.key) / ADAPTER_WEIGHTS
    if record.adapter is not None and weights.is_file() and _sha256(weights) != record.adapter.sha256:
        raise InputError(
            f"{weights}: must be the adapter that was scored (sha256 {record.adapter.sha256[:12]}), is "
            f"{_sha256(weights)[:12]}; restore it"
        )
    return study, record


def _studies(path: Path, study: StudyFolder) -> Iterator[StudyFolder]:
    """Return the studies that may know an adapter, each once; those beside `study` last."""
    seen = set()
    around = _around(path.resolve())
    for named in (study, *([around] if around else [])):
        if named.path.resolve() not in seen:
            seen.add(named.path.resolve())
            yield named
    for beside in sorted(study.path.resolve().parent.iterdir()):
        if beside not in seen and StudyFolder(beside).manifest.is_file():
            yield StudyFolder(beside)


def _with_adapter(study: StudyFolder, digest: str) -> TrialRecord | None:
    """Return the record of the trial whose adapter has this hash; None: no such, or a record is damaged."""
    try:
        records = (*study.read_records(), *study.read_retrained())
    except LoratoryError:
        return None
    return next((r for r in records if r.adapter is not None and r.adapter.sha256 == digest), None)


def _around(path: Path) -> StudyFolder | None:
    """Return the study that a path lies in."""
    return next((StudyFolder(p) for p in path.parents if StudyFolder(p).manifest.is_file()), None)


def _check_config(path: Path, scored: Path) -> None:
    """Refuse a copy whose configuration makes another model of the same weights."""
    if not (path / ADAPTER_CONFIG).is_file() or not (scored / ADAPTER_CONFIG).is_file():
        return
    own, recorded = (_decisive(read_config(folder / ADAPTER_CONFIG)) for folder in (path, scored))
    for key in sorted(own.keys() & recorded.keys()):
        if own[key] != recorded[key]:
            raise InputError(
                f"{path / ADAPTER_CONFIG}: {key} must be {recorded[key]!r} as when the adapter was scored, "
                f"is {own[key]!r}; restore it"
            )


def _decisive(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: sorted(map(str, value)) if isinstance(value, list) else value
        for key, value in config.items()
        if key not in _NAMES_OF_THE_BASE and "version" not in key
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
