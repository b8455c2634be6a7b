"""Gather the base's corpus and write its tokenizer and token ids. On a CPU this takes some minutes.

    PYTHONPATH=tools nice python -m quickstart_base.corpus FOLDER [--library OTHER_PYTHON/lib/python3.12]

Run it in an environment with loratory's development requirements: the corpus is the installed packages.
It writes to FOLDER the tokenizer's files, corpus.json.gz (the list of sources), train.npy.xz and
heldout.npy.xz (the ids), which `quickstart_base.pretraining` needs. ``--library`` names the standard library
of another interpreter; its eval and test answers must not be in the corpus either.
"""

import argparse
import hashlib
import lzma
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quickstart_base.answers import AnswerFilter, held_out_answers
from quickstart_base.manifest import CorpusManifest
from quickstart_base.sources import SourceFile, corpus_sources
from quickstart_base.tokenization import encode_documents, save_tokenizer, train_tokenizer

HELD_OUT_SHARE = 0.005
TOKENIZER_SHARE = 0.3


def write_corpus(folder: Path, *, other_libraries: Sequence[Path] = ()) -> None:
    """Write the tokenizer, the manifest and the ids of the running environment's corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = AnswerFilter(held_out_answers([None, *other_libraries]))
    gathered = list(corpus_sources(answers))
    pythons = [platform.python_version(), *(library_version(library) for library in other_libraries)]
    CorpusManifest(answers_of_pythons=pythons, sources=[source for source, _ in gathered]).write(
        folder / "corpus.json.gz"
    )
    files = sorted((file for _, files in gathered for file in files), key=_point)
    tokenizer = train_tokenizer(file.text for file in files[: int(TOKENIZER_SHARE * len(files))])
    save_tokenizer(tokenizer, folder)
    held_out = int(HELD_OUT_SHARE * len(files))
    for name, part in (("heldout", files[-held_out:]), ("train", files[:-held_out])):
        ids = encode_documents(tokenizer, [file.text for file in part])
        save_ids(ids, folder / f"{name}.npy.xz")
        characters = sum(len(file.text) for file in part)
        print(f"{name}: {len(part)} files, {characters} characters, {len(ids)} tokens")


def library_version(library: Path) -> str:
    """Return the full version of the interpreter that a standard library belongs to."""
    interpreter = library.parents[1] / "include" / library.name / "patchlevel.h"
    found = re.search(r'#define PY_VERSION\s+"([^"]+)"', interpreter.read_text())
    if found is None:
        raise ValueError(f"PY_VERSION must be defined in {interpreter}")
    return found.group(1)


def save_ids(ids: npt.NDArray[np.uint16], path: Path) -> None:
    """Write token ids as a compressed .npy file."""
    with lzma.open(path, "wb", preset=6) as file:
        np.save(file, ids)


def load_ids(path: Path) -> npt.NDArray[np.uint16]:
    """Read the token ids, shape (tokens,), of a file of `save_ids`."""
    with lzma.open(path, "rb") as file:
        ids: npt.NDArray[np.uint16] = np.load(file)
    return ids


def _point(file: SourceFile) -> bytes:
    """Return the file's sort key in a fixed random order that depends only on its path."""
    return hashlib.blake2b(file.path.encode(), digest_size=8).digest()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Gather the corpus of the quickstart's base.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--library", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    write_corpus(arguments.folder, other_libraries=arguments.library)


if __name__ == "__main__":
    main()
