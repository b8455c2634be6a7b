"""Read the sources that `data.train`, `data.eval` and `data.test` name."""

import glob
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loratory.objectives.data.files import READERS, as_raw_rows, iterate_file, no_such_file
from loratory.objectives.data.hub import iterate_hub
from loratory.objectives.data.opening import data_suffix
from loratory.objectives.data.rows import Part, RawRow
from loratory.objectives.data.saved import is_saved, read_saved, saved_folder
from loratory.spaces.data import QUICKSTART_DATA, DataSpec
from loratory.spaces.errors import InputError

_COMMIT = re.compile("[0-9a-f]{40}")


def check_files(data: DataSpec) -> None:
    """Check that the files which a study names exist.

    Raises:
        InputError: a file is missing, or a pattern matches none.
    """
    for part in Part:
        name = getattr(data, part)
        if name is None or name.startswith("builtin:"):
            continue
        if _is_pattern(name):
            _matching(name, part)
        elif _is_missing(name):
            raise InputError(f"data.{part}: {no_such_file(name)}")


def read_sources(data: DataSpec) -> dict[Part, list[RawRow]]:
    """Read all rows of every source, as `open_sources` does."""
    with open_sources(data) as sources:
        return {part: list(rows) for part, rows in sources.items()}


@contextmanager
def open_sources(data: DataSpec, *, confirm: bool = True) -> Iterator[dict[Part, Iterator[RawRow]]]:
    """Return iterators over the rows of every split for which the study names a source.

    `builtin:quickstart` as train brings its own eval and test, unless the study file names others.

    Args:
        data: names the sources.
        confirm: whether a part of eval may become confirm, for which the quickstart brings more rows.

    Raises:
        InputError: a source cannot be read; raised while iterating, too.
    """
    builtin = data.train == QUICKSTART_DATA
    named = {
        Part.TRAIN: data.train,
        Part.EVAL: data.eval or (QUICKSTART_DATA if builtin else None),
        Part.TEST: data.test or (QUICKSTART_DATA if builtin else None),
    }
    with tempfile.TemporaryDirectory(prefix="loratory-quickstart-") as folder:
        files = _quickstart(Path(folder), data, confirm=confirm) if QUICKSTART_DATA in named.values() else {}
        yield {part: _rows(name, part, data, files) for part, name in named.items() if name is not None}


def _rows(name: str, part: Part, data: DataSpec, quickstart: dict[Part, Path]) -> Iterator[RawRow]:
    if name == QUICKSTART_DATA:
        yield from iterate_file(quickstart[part], f"{QUICKSTART_DATA}/{part}.jsonl")
    elif name.startswith("builtin:"):
        raise InputError(f"data.{part}: the only builtin data is {QUICKSTART_DATA}, got {name}")
    elif _is_pattern(name):
        for file in _matching(name, part):
            yield from iterate_file(Path(file), file, data.bad_rows)
    elif is_saved(name):
        yield from as_raw_rows(read_saved(name, part), name, data.bad_rows)
    elif _is_missing(name):
        raise InputError(f"data.{part}: {no_such_file(name)}")
    elif Path(name).expanduser().is_file():
        yield from iterate_file(Path(name).expanduser(), name, data.bad_rows)
    else:
        yield from iterate_hub(str(Path(name).expanduser()) if name.startswith("~") else name, part, data)


def named_files(data: DataSpec) -> dict[Part, list[Path]] | None:
    """Return the files that the sources of each split name, sorted; built-in data has none.

    None: a source is a Hub data set without a pinned commit, and may change without a file of ours.
    """
    found = {}
    for part in Part:
        name: str | None = getattr(data, part)
        if name is None or name.startswith("builtin:"):
            continue
        path = Path(saved_folder(name) if is_saved(name) else name).expanduser()
        before_split = Path(name.partition(":")[0]).expanduser()
        folder = next((folder for folder in (path, before_split) if folder.is_dir()), None)
        if _is_pattern(name):
            found[part] = [Path(file) for file in _matching(name, part)]
        elif path.is_file():
            found[part] = [path]
        elif folder is not None:
            found[part] = sorted(file for file in folder.rglob("*") if file.is_file())
        elif _COMMIT.fullmatch(data.hub_revision or ""):
            found[part] = []
        else:
            return None
    return found


def _is_missing(name: str) -> bool:
    """Return whether a name is that of a file or folder that is not there, and can be no id of a data set."""
    if is_saved(name) or Path(name).expanduser().exists():
        return False
    if name.startswith(("/", "./", "../", "~")):
        return not Path(name.partition(":")[0]).expanduser().is_dir()
    return _is_file_name(name)


def _is_file_name(name: str) -> bool:
    """Return whether a name ends like a readable file; else it may be the id of a data set."""
    return not name.startswith("builtin:") and data_suffix(name) in READERS


def _is_pattern(name: str) -> bool:
    """Return whether a name is a glob; a bracket alone may be a slice of a split, `owner/name:train[:5%]`."""
    if Path(name).expanduser().exists():
        return False
    return "*" in name or "?" in name or ("[" in name and _is_file_name(name))


def _matching(pattern: str, part: Part) -> list[str]:
    """Return the files that a pattern matches, sorted."""
    # Path.glob takes no absolute patterns.
    found = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207
    files = sorted(file for file in found if Path(file).is_file())
    if not files:
        raise InputError(
            f"data.{part}: {pattern} must match a file, matches none; "
            f"paths are relative to the folder you run in ({Path.cwd()})"
        )
    return files


def _quickstart(folder: Path, data: DataSpec, *, confirm: bool) -> dict[Part, Path]:
    from loratory.objectives.quickstart.pairs import EVAL_WITH_CONFIRM, EVAL_WITHOUT_CONFIRM, write_pairs

    # Some pairs are flawed on purpose, so cleaning leaves fewer than data.train_examples.
    rows = EVAL_WITH_CONFIRM if confirm else EVAL_WITHOUT_CONFIRM
    files = write_pairs(folder, train_examples=data.train_examples, eval_examples=rows)
    return {Part.TRAIN: files.train, Part.EVAL: files.eval, Part.TEST: files.test}
