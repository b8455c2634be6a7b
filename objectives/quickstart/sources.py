"""The Python sources in reach of an environment that may be learned from: the library's and the installed packages'.

Left out are tests, generated files, copyleft and unlicensed packages, exact copies, the modules of the quickstart's
eval and test splits, and every file that contains one of their answers.
"""

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives.quickstart.answers import AnswerFilter
from loratory.objectives.quickstart.functions import read_source
from loratory.objectives.quickstart.manifest import Source, short_hash
from loratory.objectives.quickstart.stdlib import (
    SKIPPED_FOLDERS,
    Split,
    split_of,
    stdlib_folder,
    stdlib_modules,
)

# Plotly's sources are generated: 17 MB of the same few sentences.
SKIPPED_DISTRIBUTIONS = frozenset({"loratory", "plotly"})
LONGEST_LINE_CHARACTERS = 1000
_PERMISSIVE = ("MIT", "BSD", "APACHE", "PSF", "ISC", "ENTHOUGHT", "MOZILLA", "MPL")


@dataclass(frozen=True)
class SourceFile:
    """One file to learn from."""

    path: str
    text: str
    digest: str


def corpus_sources(answers: AnswerFilter) -> Iterator[tuple[Source, list[SourceFile]]]:
    """Yield each source with its usable files, in an order that depends only on names."""
    seen: set[str] = set()
    for source, root, paths in [_standard_library(), *_distributions()]:
        files = [file for path in paths if (file := _usable(root, path, answers, seen)) is not None]
        if files:
            yield Source(**source, files={file.path: file.digest for file in files}), files


def _standard_library() -> tuple[dict[str, str], Path, list[str]]:
    root = stdlib_folder()
    modules = [module for module in stdlib_modules() if split_of(module.name) is Split.TRAIN]
    source = {"name": "python", "version": platform.python_version(), "licence": "PSF-2.0"}
    return source, root, [module.path.relative_to(root).as_posix() for module in modules]


def _distributions() -> Iterator[tuple[dict[str, str], Path, list[str]]]:
    """Yield the installed distributions under a permissive licence (MPL too), with the paths of their sources."""
    found = {found.name.lower(): found for found in importlib.metadata.distributions()}
    for name, distribution in sorted(found.items()):
        licence = licence_of(distribution)
        if name in SKIPPED_DISTRIBUTIONS or not is_permissive(licence):
            continue
        paths = [path.as_posix() for path in distribution.files or [] if path.suffix == ".py"]
        source = {"name": distribution.name, "version": distribution.version, "licence": licence}
        yield source, Path(str(distribution.locate_file(""))), sorted(paths)


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """Return what a distribution declares as its licence, on one line, or "" where it declares none."""
    metadata = distribution.metadata
    declared = metadata.get("License-Expression") or metadata.get("License") or ""
    classifiers = [value for value in metadata.get_all("Classifier", []) if value.startswith("License")]
    lines = declared.strip().splitlines() or [value.split("::")[-1].strip() for value in classifiers]
    return lines[0][:80] if lines else ""


def is_permissive(licence: str) -> bool:
    """Whether a declared licence is permissive, or copyleft for single files only."""
    upper = licence.upper()
    return "GPL" not in upper and any(word in upper for word in _PERMISSIVE)


def _usable(root: Path, path: str, answers: AnswerFilter, seen: set[str]) -> SourceFile | None:
    """Read one file, or return None where it is skipped, a copy, generated, or contains an answer."""
    if not SKIPPED_FOLDERS.isdisjoint(Path(path).parts) or path.endswith("_pb2.py"):
        return None
    text = read_source(root / path)
    if not text or max(map(len, text.splitlines())) > LONGEST_LINE_CHARACTERS:
        return None
    digest = short_hash((root / path).read_bytes())
    if digest in seen or answers.found_in(text):
        return None
    seen.add(digest)
    return SourceFile(path=path, text=text, digest=digest)
