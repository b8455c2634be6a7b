"""List the sources of the base's corpus: names, versions, licences and short hashes, not their text."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Source:
    """One distribution (or the standard library, named ``python``), and its files in the corpus.

    ``files`` maps a path below the folder of imports, with forward slashes, to `short_hash` of its bytes.
    """

    name: str
    version: str
    licence: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class CorpusManifest:
    """The sources of a corpus, and the Python versions for whose eval and test answers it was searched."""

    answers_of_pythons: Sequence[str]
    sources: Sequence[Source]

    def write(self, path: Path) -> None:
        """Write gzipped JSON; equal content gives equal bytes."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def read_manifest(path: Path) -> CorpusManifest:
    """Read a manifest that `CorpusManifest.write` wrote."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    if content["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version must be {SCHEMA_VERSION}, got {content['schema_version']}: {path}")
    return CorpusManifest(
        answers_of_pythons=content["answers_of_pythons"],
        sources=[Source(**source) for source in content["sources"]],
    )


def short_hash(content: bytes) -> str:
    """Return the first 40 bits of the content's SHA-256 in hex, enough to detect a changed file."""
    return hashlib.sha256(content).hexdigest()[:10]
