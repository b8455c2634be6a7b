"""Hash of the files of a base in a folder; hashes of large files are kept on this node."""

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.node_cache import node_cache

# Files that decide how the base behaves; notes and licences do not.
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")
WITHOUT_WEIGHTS = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "*.model",
    "*.py",
)
_WORTH_KEEPING_BYTES = 2**26  # less is read in no time
_SETTLED_NS = 2 * 10**9
"""A file that changed so shortly before it was read may change again without a new time."""
_AT_ONCE = 4


def content_sha256(source: str | Path, *, weights: bool = True) -> str:
    """Hash the files of a base in a folder: names and contents, in the order of the names.

    The hash of a large file is kept, and holds as long as size and times of the file stay.

    Args:
        source: the folder.
        weights: False leaves out the weights and their index.
    """
    patterns = (*_WEIGHTS, *WITHOUT_WEIGHTS) if weights else WITHOUT_WEIGHTS
    found = {path for pattern in patterns for path in Path(source).glob(pattern) if path.is_file()}
    files = sorted(found, key=lambda path: path.name)
    digest = hashlib.sha256()
    for path, sha256 in zip(files, _hashed(files), strict=True):
        digest.update(f"{path.name}\0{sha256}\n".encode())
    return digest.hexdigest()


def _hashed(files: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hash") as threads:
        return list(threads.map(_file_sha256, files))


def _file_sha256(path: Path) -> str:
    before = _identity(path)
    kept = node_cache() / "hashes" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.json"
    if before["size"] >= _WORTH_KEEPING_BYTES and (known := _known(kept, before)) is not None:
        return known
    began = time.time_ns()
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    settled = max(before["modified_ns"], before["changed_ns"]) < began - _SETTLED_NS
    if before["size"] >= _WORTH_KEEPING_BYTES and settled and _identity(path) == before:
        with suppress(OSError):  # without it the file is read again, which costs time only
            write_atomically(kept, json.dumps({**before, "sha256": sha256}).encode())
    return sha256


def _known(kept: Path, identity: dict[str, int]) -> str | None:
    """Return the hash that was kept of a file that has not changed since."""
    try:
        found = json.loads(kept.read_bytes())
        sha256 = found.pop("sha256")
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return str(sha256) if found == identity else None


def _identity(path: Path) -> dict[str, int]:
    """Return what changes with a file's content; no program sets the time of the change (ctime)."""
    status = path.stat()
    return {
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "changed_ns": status.st_ctime_ns,
    }
