"""Read the sources that `data.train`, `data.eval` and `data.test` name."""

import tempfile
from pathlib import Path

from loratory.objectives.data.files import READERS, no_such_file, read_file
from loratory.objectives.data.hub import read_hub
from loratory.objectives.data.rows import Part, RawRow
from loratory.spaces.data import QUICKSTART_DATA, DataSpec
from loratory.spaces.errors import InputError


def check_files(data: DataSpec) -> None:
    """Check that the files which a study names exist.

    Raises:
        InputError: a file is missing.
    """
    for part in Part:
        name = getattr(data, part)
        if name is not None and _is_file_name(name) and not Path(name).expanduser().is_file():
            raise InputError(f"data.{part}: {no_such_file(name)}")


def read_sources(data: DataSpec) -> dict[Part, list[RawRow]]:
    """Read the rows of every split for which the study names a source.

    `builtin:quickstart` as train brings its own eval and test, unless the study file names others.

    Raises:
        InputError: a source cannot be read.
    """
    builtin = data.train == QUICKSTART_DATA
    named = {
        Part.TRAIN: data.train,
        Part.EVAL: data.eval or (QUICKSTART_DATA if builtin else None),
        Part.TEST: data.test or (QUICKSTART_DATA if builtin else None),
    }
    with tempfile.TemporaryDirectory(prefix="loratory-quickstart-") as folder:
        files = _quickstart(Path(folder), data) if QUICKSTART_DATA in named.values() else {}
        return {part: _read(name, part, data, files) for part, name in named.items() if name is not None}


def _read(name: str, part: Part, data: DataSpec, quickstart: dict[Part, Path]) -> list[RawRow]:
    if name == QUICKSTART_DATA:
        return read_file(quickstart[part], f"{QUICKSTART_DATA}/{part}.jsonl")
    if name.startswith("builtin:"):
        raise InputError(f"data.{part}: the only builtin data is {QUICKSTART_DATA}, got {name}")
    path = Path(name).expanduser()
    if path.is_file() or _is_file_name(name):
        return read_file(path, name)
    return read_hub(name, part, data)


def _is_file_name(name: str) -> bool:
    """Return whether a name ends like a readable file; else it may be the id of a data set."""
    return not name.startswith("builtin:") and Path(name).suffix.lower() in READERS


def _quickstart(folder: Path, data: DataSpec) -> dict[Part, Path]:
    from loratory.objectives.quickstart.pairs import write_pairs

    # Some pairs are flawed on purpose, so cleaning leaves fewer than data.train_examples.
    files = write_pairs(folder, train_examples=data.train_examples)
    return {Part.TRAIN: files.train, Part.EVAL: files.eval, Part.TEST: files.test}
