"""Per-example scores in a study folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import SCORES, StudyFolder
from loratory.objectives.versions import fault
from loratory.spaces.errors import LoratoryError


class DamagedScoresError(LoratoryError):
    """A file of scores per example that cannot be read.

    Args:
        path: the file.
        why: what is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: must be per-example scores, is damaged: {why}; restore the file")
        self.path, self.why = path, why


class ScoreFiles(NamedTuple):
    """Scores per example that were read.

    Attributes:
        tables: by key.
        damaged: what is wrong with the files that cannot be read, by key.
    """

    tables: dict[str, ScoreTable]
    damaged: dict[str, str]


def read_table(folder: Path) -> ScoreTable | None:
    """Read the per-example scores in the folder of a trial or the base; None if there are none.

    Raises:
        DamagedScoresError: the file is damaged.
        LoratoryError: a newer loratory wrote it.
    """
    path = folder / SCORES
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        if not content:
            raise DamagedScoresError(path, "it is empty")
        return ScoreTable.from_bytes(content, str(path))
    except (BadZipFile, ValueError, KeyError, OSError) as error:
        raise DamagedScoresError(path, fault(error)) from error


def read_tables(folders: Mapping[str, Path]) -> ScoreFiles:
    """Read the per-example scores in several folders by key; folders without any are left out.

    Names of examples and groups that are the same in many tables are held once.

    Raises:
        LoratoryError: a newer loratory wrote a file.
    """
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    found = ScoreFiles({}, {})
    for key, folder in folders.items():
        try:
            table = read_table(folder)
        except DamagedScoresError as error:
            found.damaged[key] = error.why
            continue
        if table is not None:
            ids, groups = (names.setdefault(own, own) for own in (table.example_ids, table.groups))
            found.tables[key] = replace(table, example_ids=ids, groups=groups)
    return found


def read_scoring(folder: StudyFolder, key: str) -> ScoreTable | None:
    """Read the per-example scores of a scoring outside any trial; None until it has its record.

    Raises:
        DamagedScoresError: the file is damaged.
    """
    return read_table(folder.score(key)) if folder.read_score(key) is not None else None
