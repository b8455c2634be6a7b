"""Preparation of a study's data, or what an earlier run of the study kept of it."""

from dataclasses import replace
from pathlib import Path

from loratory.objectives.data.cache_file import DamagedError, read_cache, write_cache
from loratory.objectives.data.cache_key import cache_key, hash_sources
from loratory.objectives.data.preparation import DataPreparation, prepare_data
from loratory.objectives.data.rendering import Tokenizer
from loratory.objectives.study_folder import PREPARED
from loratory.spaces.study import StudySpec


def prepare_cached(
    study: StudySpec,
    tokenizer: Tokenizer,
    *,
    cache: Path | None,
    tokenizer_sha256: str,
    max_positions: int | None = None,
    created_at: str | None = None,
) -> DataPreparation:
    """Return prepared data, from the cache where nothing has changed since it was written.

    What comes from the cache has no `shown` lines.

    Args:
        study: a study with a data section.
        tokenizer: the base model's, as it was loaded.
        cache: folder with the cache of this study; None keeps nothing.
        tokenizer_sha256: hash of configuration and tokenizer, or of the commit.
        max_positions: longest input of the model, in tokens; None: no limit.
        created_at: time at which the study began, ISO 8601; None keeps nothing.

    Raises:
        InputError: as `prepare_data` raises it.
    """
    sources = None if cache is None or study.data is None else hash_sources(study.data)
    key = None
    if sources is not None:
        key = cache_key(
            study,
            tokenizer,
            sources=sources,
            max_positions=max_positions,
            created_at=created_at,
            tokenizer_sha256=tokenizer_sha256,
        )
    if cache is None or study.data is None or key is None:
        return prepare_data(study, tokenizer, max_positions=max_positions, created_at=created_at)
    kept, lines = _kept(cache / PREPARED, key)
    if kept is not None:
        return kept
    prepared = prepare_data(study, tokenizer, max_positions=max_positions, created_at=created_at)
    # Files that changed while they were read must not be kept under the hash of their earlier content.
    if hash_sources(study.data) == sources:
        lines += _keep(cache / PREPARED, key, prepared)
    return replace(prepared, summary=(*lines, *prepared.summary))


def _kept(path: Path, key: str) -> tuple[DataPreparation | None, tuple[str, ...]]:
    """Return what the cache holds for a key, if anything, and lines for the terminal."""
    try:
        kept = read_cache(path, key)
    except DamagedError as error:
        return None, (f"data/{path.name} is damaged ({error}): the data is prepared again",)
    if kept is None:
        return None, ()
    data, summary, files = kept
    return DataPreparation(data=data, summary=summary, files=files), ()


def _keep(path: Path, key: str, prepared: DataPreparation) -> tuple[str, ...]:
    try:
        write_cache(path, key, prepared.data, summary=prepared.summary, files=prepared.files)
    except OSError as error:
        # Data that is prepared again costs time only; a full disk is reported where records are written.
        return (f"data/{path.name} cannot be kept ({error.strerror}): a resume prepares the data again",)
    return ()
