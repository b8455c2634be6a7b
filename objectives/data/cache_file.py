"""Prepared data in one file: arrays, texts and a checksum over all of it.

The file holds a first line, the SHA-256 of all that follows it, a line of JSON that names the arrays, and
their bytes. Nothing in it is code, so a study folder from elsewhere may be read.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.data.examples import Examples
from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.texts import Texts

_FIRST = b"loratory prepared data 1\n"
_DIGEST = 65
# Arrays begin at multiples of this, as numpy's own do.
_ALIGNED = 64
_TEXTS = ("example_ids", "groups", "prompts", "references")
_NUMBERS = ("token_ids", "offsets", "prompt_lengths")
_SPLITS = ("train", "dev", "select", "confirm", "test")

Arrays = dict[str, NDArray[Any]]


class DamagedError(Exception):
    """The file is not as it was written."""


def write_cache(
    path: Path, key: str, data: PreparedData, *, summary: tuple[str, ...], files: dict[str, bytes]
) -> None:
    """Write prepared data atomically, in the place of what was there.

    Args:
        path: the file.
        key: of the data, from `cache_key`.
        data: the splits.
        summary: lines for the terminal.
        files: contents of files for the study folder, by name.

    Raises:
        OSError: the file cannot be written.
    """
    arrays = {f"file {name}": np.frombuffer(content, dtype=np.uint8) for name, content in files.items()}
    for name in _SPLITS:
        arrays |= _arrays_of(name, getattr(data, name))
    head = {
        "key": key,
        "sha256": data.sha256,
        "labels": data.labels,
        "kept_ids": data.kept_ids,
        "summary": summary,
        "arrays": [(name, array.dtype.str, len(array)) for name, array in arrays.items()],
    }
    blocks: list[bytes | memoryview] = [json.dumps(head).encode() + b"\n"]
    size = len(_FIRST) + _DIGEST + len(blocks[0])
    for array in arrays.values():
        blocks += [bytes(-size % _ALIGNED), np.ascontiguousarray(array).data.cast("B") if len(array) else b""]
        size += len(blocks[-2]) + len(blocks[-1])
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    write_atomically(path, b"".join([_FIRST, digest.hexdigest().encode() + b"\n", *blocks]))


def read_cache(path: Path, key: str) -> tuple[PreparedData, tuple[str, ...], dict[str, bytes]] | None:
    """Return data, summary and files; None if there is no file, or one with another key.

    Raises:
        DamagedError: the file is not as it was written, or cannot be read.
    """
    try:
        content = bytearray(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(str(error)) from error
    begin = len(_FIRST) + _DIGEST
    view = memoryview(content)
    digest = hashlib.sha256(view[begin:]).hexdigest().encode() + b"\n"
    if content[: len(_FIRST)] != _FIRST or content[len(_FIRST) : begin] != digest:
        raise DamagedError("its checksum is another")
    end = content.index(b"\n", begin) + 1
    head = json.loads(bytes(view[begin:end]))
    if head["key"] != key:
        return None
    arrays = _read_arrays(content, end, head["arrays"])
    splits = {name: _examples_of(name, arrays) for name in _SPLITS}
    data = PreparedData(
        **splits,
        labels=tuple(head["labels"]),
        sha256=head["sha256"],
        kept_ids=tuple(head["kept_ids"]),
    )
    files = {n.removeprefix("file "): a.tobytes() for n, a in arrays.items() if n.startswith("file ")}
    return data, tuple(head["summary"]), files


def _arrays_of(split: str, examples: Examples) -> Arrays:
    arrays: Arrays = {f"{split} {name}": getattr(examples, name) for name in _NUMBERS}
    for name in _TEXTS:
        texts: Texts = getattr(examples, name)
        arrays |= {f"{split} {name} data": texts.data, f"{split} {name} offsets": texts.offsets}
    if examples.learned is not None:
        arrays[f"{split} learned"] = examples.learned
    return arrays


def _examples_of(split: str, arrays: Arrays) -> Examples:
    texts: dict[str, Any] = {
        name: Texts(arrays[f"{split} {name} data"], arrays[f"{split} {name} offsets"]) for name in _TEXTS
    }
    numbers: dict[str, Any] = {name: arrays[f"{split} {name}"] for name in _NUMBERS}
    return Examples(**texts, **numbers, learned=arrays.get(f"{split} learned"))


def _read_arrays(content: bytearray, place: int, named: list[tuple[str, str, int]]) -> Arrays:
    arrays: Arrays = {}
    for name, dtype, length in named:
        place += -place % _ALIGNED
        array = (
            np.frombuffer(content, dtype=dtype, count=length, offset=place) if length else np.empty(0, dtype)
        )
        arrays[name] = array
        place += array.nbytes
    return arrays
