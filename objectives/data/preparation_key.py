"""A name for all that prepared data is made of: sources, tokenizer, settings, date and code."""

import glob
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import loratory.objectives
import loratory.spaces
from loratory.objectives.data.rows import Part
from loratory.spaces.data import QUICKSTART_DATA, DataSpec
from loratory.spaces.study import StudySpec

_LIBRARIES = ("transformers", "tokenizers", "jinja2", "datasets", "pyarrow", "numpy")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKENIZER_FILES = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "additional_chat_templates/*",
    "*.model",
    "*.py",
)


def preparation_key(
    study: StudySpec, *, base: str | Path, revision: str | None, max_positions: int | None, created_at: str
) -> str | None:
    """Return the SHA-256, in hex, of all that the data of a study is made of; None if it cannot be told.

    Args:
        study: a study with a data section.
        base: folder or Hub id of the base, which brings the tokenizer.
        revision: commit of a Hub id; None for a folder.
        max_positions: longest input of the model, in tokens.
        created_at: time at which the study began, which templates may state.
    """
    assert study.data is not None
    sources = {}
    for part in Part:
        name = getattr(study.data, part)
        if name is not None and (content := _source(name, study.data)) is None:
            return None
        sources[part] = None if name is None else content
    made_of: dict[str, Any] = {
        "sources": sources,
        "tokenizer": f"{base}@{revision}" if revision is not None else _tokenizer(Path(base)),
        "data": study.data.model_dump(mode="json"),
        "evaluation": study.evaluation.model_dump(mode="json"),
        "metric": study.metric,
        "max_positions": max_positions,
        "created_at": created_at,
        "code": _code(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "python": sys.version,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def _source(name: str, data: DataSpec) -> str | None:
    """Return what names the content of a source: a hash, or a commit of the Hub; None if there is none."""
    if name == QUICKSTART_DATA:
        return name
    path = Path(name).expanduser()
    folder = Path(name.partition(":")[0]).expanduser()
    if path.is_file():
        return _hashed([path])
    if path.is_dir() or folder.is_dir():
        return _hashed(file for file in (path if path.is_dir() else folder).rglob("*") if file.is_file())
    matching = [Path(file) for file in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns)
    if matching:
        return _hashed(file for file in matching if file.is_file())
    return _commit(name.partition(":")[0], data.hub_revision)


def _commit(name: str, revision: str | None) -> str | None:
    """Return the commit of a data set of the Hub; None if it cannot be reached."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return f"{name}@{revision}"
    from huggingface_hub import HfApi

    try:
        return f"{name}@{HfApi().dataset_info(name, revision=revision, timeout=4).sha}"
    except Exception:  # errors of networks, access tokens and names share no class
        return None


def _tokenizer(folder: Path) -> str:
    return _hashed(file for pattern in _TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file())


def _code() -> str:
    """Return a hash of the code that prepares and scores, so that a new version prepares again."""
    folders = [*loratory.objectives.__path__, *loratory.spaces.__path__]
    own = [Path(folder) for folder in folders]
    return _hashed(
        file
        for folder in [*own, *(place / name for place in own for name in ("data", "metrics", "quickstart"))]
        for file in folder.glob("*.py")
    )


def _hashed(files: Iterable[Path]) -> str:
    """Return a hash of names and contents; a file's time and size say too little about its content."""
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        with path.open("rb") as file:
            digest.update(f"{path}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
