"""Preparation of a study's data, or what an earlier run of the study kept of it."""

from contextlib import suppress
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
    base_sha256: str,
    max_positions: int | None = None,
    created_at: str | None = None,
) -> DataPreparation:
    """Return prepared data, from the cache where nothing has changed since it was written.

    What comes from the cache has no `shown` lines.

    Args:
        study: a study with a data section.
        tokenizer: the base model's, as it was loaded.
        cache: folder with the cache of this study; None keeps nothing.
        base_sha256: hash of the base's files, or of its commit.
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
            base_sha256=base_sha256,
        )
    lines: tuple[str, ...] = ()
    if cache is not None and key is not None:
        try:
            if (kept := read_cache(cache / PREPARED, key)) is not None:
                data, summary, files = kept
                return DataPreparation(data=data, summary=summary, files=files)
        except DamagedError as error:
            lines = (f"data/{PREPARED} is damaged ({error}): the data is prepared again",)
    prepared = prepare_data(study, tokenizer, max_positions=max_positions, created_at=created_at)
    # Files that changed while they were read must not be kept under the hash of their earlier content.
    if (
        cache is not None
        and key is not None
        and study.data is not None
        and hash_sources(study.data) == sources
    ):
        lines += _keep(cache / PREPARED, key, prepared)
    elif cache is not None:
        with suppress(OSError):
            (cache / PREPARED).unlink(missing_ok=True)
    return replace(prepared, summary=(*lines, *prepared.summary))


def _keep(path: Path, key: str, prepared: DataPreparation) -> tuple[str, ...]:
    try:
        write_cache(path, key, prepared.data, summary=prepared.summary, files=prepared.files)
    except OSError as error:
        # Data that is prepared again costs time only; a full disk is reported where records are written.
        return (f"data/{PREPARED} cannot be kept ({error.strerror}): a resume prepares the data again",)
    return ()
