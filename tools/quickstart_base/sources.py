"""Find the Python sources of an environment that the base may learn from: standard library and packages.

Left out are tests, generated files, copyleft and unlicensed packages, copies of other packages, exact
duplicates, the modules of the quickstart's eval and test splits, and every file that contains one of their
answers.
"""

import importlib.metadata
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives.quickstart.functions import read_source
from loratory.objectives.quickstart.stdlib import (
    SKIPPED_FOLDERS,
    Split,
    split_of,
    stdlib_folder,
    stdlib_modules,
)
from quickstart_base.answers import AnswerFilter
from quickstart_base.manifest import Source, short_hash

# Plotly's sources are generated: 17 MB of the same few sentences.
SKIPPED_DISTRIBUTIONS = frozenset({"loratory", "plotly"})
LONGEST_LINE_CHARACTERS = 1000
# Private copies of other packages: the distribution around them does not declare their licences.
COPIES_FOLDERS = frozenset({"_vendor", "vendor", "vendored", "thirdparty", "third_party", "extern"})
_PERMISSIVE = ("MIT", "BSD", "APACHE", "PSF", "ISC", "ENTHOUGHT", "MOZILLA", "MPL")


@dataclass(frozen=True)
class SourceFile:
    """One file of the corpus."""

    path: str
    text: str
    digest: str


def corpus_sources(answers: AnswerFilter) -> Iterator[tuple[Source, list[SourceFile]]]:
    """Yield each source with its usable files, ordered by name."""
    seen: set[str] = set()
    for source, root, paths in [_standard_library(), *_distributions()]:
        files = list(usable_files(root, paths, answers=answers, seen=seen))
        if files:
            yield Source(**source, files={file.path: file.digest for file in files}), files


def _standard_library() -> tuple[dict[str, str], Path, list[str]]:
    root = stdlib_folder()
    modules = [module for module in stdlib_modules() if split_of(module.name) is Split.TRAIN]
    source = {"name": "python", "version": platform.python_version(), "licence": "PSF-2.0"}
    return source, root, [module.path.relative_to(root).as_posix() for module in modules]


def _distributions() -> Iterator[tuple[dict[str, str], Path, list[str]]]:
    """Yield the installed distributions under a permissive licence, with the paths of their sources."""
    found = {found.name.lower(): found for found in importlib.metadata.distributions()}
    for name, distribution in sorted(found.items()):
        licence = licence_of(distribution)
        if name in SKIPPED_DISTRIBUTIONS or not is_permissive(licence):
            continue
        paths = [path.as_posix() for path in distribution.files or [] if path.suffix == ".py"]
        source = {"name": distribution.name, "version": distribution.version, "licence": licence}
        yield source, Path(str(distribution.locate_file(""))), sorted(paths)


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """Return the licence that a distribution declares, on one line, or "" if it declares none."""
    metadata = distribution.metadata.json
    declared = str(metadata.get("license_expression") or metadata.get("license") or "")
    classifiers = [value for value in metadata.get("classifier", []) if value.startswith("License")]
    lines = declared.strip().splitlines() or [value.split("::")[-1].strip() for value in classifiers]
    return lines[0][:80] if lines else ""


def is_permissive(licence: str) -> bool:
    """Return whether a declared licence is permissive, or copyleft for single files only."""
    upper = licence.upper()
    return "GPL" not in upper and any(word in upper for word in _PERMISSIVE)


def usable_files(
    root: Path, paths: Iterable[str], *, answers: AnswerFilter, seen: set[str]
) -> Iterator[SourceFile]:
    """Yield the usable files below `root` with a hash that is not in `seen`, and add their hashes to it."""
    skipped = SKIPPED_FOLDERS | COPIES_FOLDERS
    for path in paths:
        if not skipped.isdisjoint(Path(path).parts) or path.endswith("_pb2.py"):
            continue
        text = read_source(root / path)
        if not text or max(map(len, text.splitlines())) > LONGEST_LINE_CHARACTERS:
            continue
        digest = short_hash((root / path).read_bytes())
        if digest not in seen and not answers.found_in(text):
            seen.add(digest)
            yield SourceFile(path=path, text=text, digest=digest)
