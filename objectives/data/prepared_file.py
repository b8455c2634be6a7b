"""Prepared data as one file: a checksum, a header in JSON, and the arrays as they are in memory."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.examples import Examples
from loratory.objectives.data.preparation import DataPreparation
from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.texts import Texts

_MAGIC = b"loratory prepared data 1\n"
_DIGEST = 64
_FILES = "files/"


class DamagedError(Exception):
    """A file is cut short or changed, or no file of prepared data."""


def to_bytes(prepared: DataPreparation, key: str) -> bytes:
    """Return a preparation as the content of a file.

    Args:
        prepared: the preparation.
        key: names what it was made of.
    """
    arrays = dict(_arrays(prepared.data))
    arrays |= {f"{_FILES}{name}": np.frombuffer(data, np.uint8) for name, data in prepared.files.items()}
    header = {
        "key": key,
        "data": _values(prepared.data),
        "summary": prepared.summary,
        "shown": prepared.shown,
        "arrays": [[name, array.dtype.str, len(array)] for name, array in arrays.items()],
    }
    parts = [
        json.dumps(header).encode() + b"\n",
        *(memoryview(array).cast("B") for array in arrays.values() if len(array)),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([_MAGIC, digest.hexdigest().encode(), b"\n", *parts])


def from_bytes(content: bytes, key: str) -> DataPreparation | None:
    """Return the preparation of a file; None if it was made of something else.

    Args:
        content: of the file.
        key: names what the preparation must be made of.

    Raises:
        DamagedError: the file is cut short or changed, or no file of prepared data.
    """
    start = len(_MAGIC) + _DIGEST + 1
    if not content.startswith(_MAGIC):
        raise DamagedError
    body = memoryview(content)[start:]
    if hashlib.sha256(body).hexdigest().encode() != content[len(_MAGIC) : start - 1]:
        raise DamagedError
    end = content.index(b"\n", start) + 1
    header = json.loads(content[start:end])
    return _preparation(header, memoryview(content)[end:]) if header["key"] == key else None


def _preparation(header: dict[str, Any], body: memoryview) -> DataPreparation:
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, dtype, length in header["arrays"]:
        arrays[name] = (
            np.frombuffer(body, dtype=dtype, count=length, offset=start) if length else np.empty(0, dtype)
        )
        start += arrays[name].nbytes
    splits = {name: _examples(name, arrays) for name in PreparedData.SPLITS}
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in header["data"].items()}
    kept = [name for name in arrays if name.startswith(_FILES)]
    files = {name.removeprefix(_FILES): arrays[name].tobytes() for name in kept}
    return DataPreparation(
        data=PreparedData(**splits, **values),
        summary=tuple(header["summary"]),
        files=files,
        shown=tuple(header["shown"]),
    )


def _values(data: PreparedData) -> dict[str, Any]:
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return {name: value for name, value in values.items() if not isinstance(value, Examples)}


def _arrays(data: PreparedData) -> Iterator[tuple[str, NDArray[Any]]]:
    for split, examples in data.named_splits.items():
        for field in fields(examples):
            value = getattr(examples, field.name)
            if isinstance(value, Texts):
                yield f"{split}/{field.name}/data", value.data
                yield f"{split}/{field.name}/offsets", value.offsets
            elif value is not None:
                yield f"{split}/{field.name}", value


def _examples(split: str, arrays: dict[str, NDArray[Any]]) -> Examples:
    values: dict[str, Any] = {}
    for field in fields(Examples):
        name = f"{split}/{field.name}"
        if f"{name}/data" in arrays:
            values[field.name] = Texts(arrays[f"{name}/data"], arrays[f"{name}/offsets"])
        elif name in arrays:
            values[field.name] = arrays[name]
    return Examples(**values)
