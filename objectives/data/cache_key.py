"""The key of prepared data: a hash over all that decides it."""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loratory.objectives.data.rendering import Tokenizer
from loratory.objectives.data.rows import Part
from loratory.objectives.data.sources import named_files
from loratory.spaces.data import DataSpec
from loratory.spaces.study import StudySpec

SourceHashes = dict[str, list[tuple[str, str]]]

_LIBRARIES = ("loratory", "transformers", "tokenizers", "jinja2", "datasets", "pyarrow", "numpy")
_CODE = ("data", "metrics", "quickstart")


def cache_key(
    study: StudySpec,
    tokenizer: Tokenizer,
    *,
    sources: SourceHashes,
    max_positions: int | None,
    created_at: str | None,
    tokenizer_sha256: str,
) -> str | None:
    """Return a SHA-256, in hex, that changes with everything that prepared data depends on.

    Args:
        study: a study with a data section; its data and evaluation count.
        tokenizer: the base's, as it was loaded.
        sources: hashes of the files that are read.
        max_positions: longest input of the model, in tokens.
        created_at: time at which the study began, which templates may state.
        tokenizer_sha256: hash of configuration and tokenizer, or of the commit.

    Returns:
        The key; None if what encodes the data has no hash: a tokenizer without the `tokenizers` library, or
        the clock's date.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or created_at is None:
        return None
    parts = {
        "code": _code(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "study": study.model_dump(mode="json", include={"data", "evaluation"}),
        "sources": sources,
        "tokenizer": hashlib.sha256(backend.to_str().encode()).hexdigest(),
        "template": tokenizer.chat_template,
        "base": tokenizer_sha256,
        "max_positions": max_positions,
        "created_at": created_at,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_sources(data: DataSpec) -> SourceHashes | None:
    """Return name and SHA-256 of each file that is read, by split.

    None: a file cannot be read, or a source is a Hub data set without a pinned commit.
    """
    try:
        files = named_files(data)
        return None if files is None else _hashes(files)
    except OSError:  # preparing says which file it is
        return None


def _hashes(files: dict[Part, list[Path]]) -> SourceHashes:
    return {part.value: [(str(file), _sha256(file)) for file in named] for part, named in files.items()}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@cache
def _code() -> str:
    """Return a hash of the sources that read, encode, clean and draw."""
    objectives = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for folder in _CODE:
        for file in sorted((objectives / folder).glob("*.py")):
            digest.update(f"{folder}/{file.name}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _version(name: str) -> Any:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
