"""List the modules of an interpreter's standard library, and assign each to a split."""

import hashlib
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

# Docstrings of tests describe the tests; third-party code is not part of the library; later interpreters
# lack lib2to3 and distutils.
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "distutils", "__pycache__"}
)

# Chosen so that the shares below hold for functions, not only for modules, and so that tkinter, idlelib and
# turtle are in train: some systems lack them, and eval and test must not depend on that.
SPLIT_SALT = b"loratory-quickstart-1845"


class Split(StrEnum):
    """Split that a module's functions belong to."""

    TRAIN = "train"
    EVAL = "eval"
    TEST = "test"


@dataclass(frozen=True)
class ModuleSource:
    """One module of a standard library: its dotted name, and the path of its source."""

    name: str
    path: Path


def split_of(module: str) -> Split:
    """Return the split of a module. It depends only on the top-level name, so all interpreters agree.

    A leading ``_py`` or ``_`` is ignored, since ``datetime`` became ``_pydatetime`` between two versions.
    About 70% of the functions are in train, 20% in eval and 10% in test.
    """
    top = module.partition(".")[0].removeprefix("_py").removeprefix("_")
    digest = hashlib.blake2b(top.encode(), digest_size=8, key=SPLIT_SALT).digest()
    point = int.from_bytes(digest) / 2**64
    if point < 0.7:
        return Split.TRAIN
    return Split.EVAL if point < 0.9 else Split.TEST


def stdlib_folder() -> Path:
    """Return the folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def stdlib_modules(folder: Path | None = None) -> Iterator[ModuleSource]:
    """Yield the modules of a standard library (default: the running interpreter's), ordered by path."""
    root = folder or stdlib_folder()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if SKIPPED_FOLDERS.isdisjoint(relative.parts):
            yield ModuleSource(name=module_name(relative), path=path)


def module_name(relative: Path) -> str:
    """Return the dotted name of the module at a path below an import root."""
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
