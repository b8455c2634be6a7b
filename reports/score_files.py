"""Per-example scores in a study folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import SCORES, StudyFolder
from loratory.spaces.errors import LoratoryError


def read_table(folder: Path) -> ScoreTable | None:
    """Read the per-example scores in the folder of a trial or the base; None if there are none.

    Raises:
        LoratoryError: the file is damaged.
    """
    path = folder / SCORES
    try:
        return ScoreTable.from_bytes(path.read_bytes(), str(path)) if path.is_file() else None
    except (BadZipFile, ValueError, KeyError, OSError) as error:
        raise LoratoryError(f"{path}: must be per-example scores, is damaged: {error}") from error


def read_tables(folders: Mapping[str, Path]) -> dict[str, ScoreTable]:
    """Read the per-example scores in several folders by key; folders without any are left out.

    Names of examples and groups that are the same in many tables are held once.

    Raises:
        LoratoryError: a file is damaged.
    """
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    found = {}
    for key, folder in folders.items():
        if (table := read_table(folder)) is not None:
            ids, groups = (names.setdefault(own, own) for own in (table.example_ids, table.groups))
            found[key] = replace(table, example_ids=ids, groups=groups)
    return found


def read_scoring(folder: StudyFolder, key: str) -> ScoreTable | None:
    """Read the per-example scores of a scoring outside any trial; None until it has its record."""
    return read_table(folder.score(key)) if folder.read_score(key) is not None else None
