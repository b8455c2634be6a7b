"""Read folders that `Dataset.save_to_disk` and `DatasetDict.save_to_disk` wrote."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from loratory.objectives.data.arrow_rows import read_arrow
from loratory.objectives.data.rows import BadRowError, Part
from loratory.spaces.errors import InputError

USUAL_SPLITS = {
    Part.TRAIN: ("train",),
    Part.EVAL: ("validation", "valid", "dev", "eval"),
    Part.TEST: ("test",),
}
_DICT, _STATE = "dataset_dict.json", "state.json"


def is_saved(name: str) -> bool:
    """Return whether a name is that of a saved folder, with or without `:split`."""
    folder = _located(name)[0]
    return (folder / _DICT).is_file() or (folder / _STATE).is_file()


def read_saved(name: str, part: Part) -> Iterator[tuple[int, Any]]:
    """Read the rows of a saved data set.

    Args:
        name: the folder, or `folder:split`.
        part: the part of the study; without `:split`, the split of its usual name is read.

    Yields:
        Number and columns of each row.

    Raises:
        InputError: the split is missing, or a file is missing or damaged.
    """
    folder, split = _located(name)
    numbers = count(1)
    for file in _files(_folder_of_split(folder, split, part), name):
        for _, fields in read_arrow(file, str(file)):
            number = next(numbers)
            yield (
                number,
                BadRowError(f"{name}, row {number}", fields.rule)
                if isinstance(fields, BadRowError)
                else fields,
            )


def saved_folder(name: str) -> str:
    """Return the folder of a saved data set, `:split` left out."""
    return str(_located(name)[0])


def _located(name: str) -> tuple[Path, str]:
    """Return folder and split; the name of a folder that is there may hold colons itself."""
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser(), ""
    folder, _, split = name.rpartition(":")
    return Path(folder or name).expanduser(), split if folder else ""


def _folder_of_split(folder: Path, split: str, part: Part) -> Path:
    if not (folder / _DICT).is_file():
        own = _json(folder / _STATE).get("_split")
        if split and split != own:
            raise InputError(
                f"data.{part} {folder}: is one data set without a split {split}; leave :{split} out"
            )
        return folder
    splits = _json(folder / _DICT).get("splits", [])
    wanted = (split,) if split else USUAL_SPLITS[part]
    found = next((name for name in wanted if name in splits), None)
    if found is None:
        raise InputError(missing_split(part, str(folder), wanted, splits))
    return folder / found


def missing_split(part: Part, name: str, wanted: tuple[str, ...], splits: list[str]) -> str:
    """Return the message about a split that a data set does not have."""
    return (
        f"data.{part} {name}: must have a split {' or '.join(wanted)}, has {', '.join(splits)}; "
        f"name one as {name}:{splits[0] if splits else 'SPLIT'}"
    )


def _files(folder: Path, name: str) -> list[Path]:
    files = [folder / file["filename"] for file in _json(folder / _STATE).get("_data_files", [])]
    for file in files:
        if not file.is_file():
            raise InputError(f"{name}: must have the file {file.name} that its {_STATE} names, has none")
    return files


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: must be the file that save_to_disk wrote: {error}") from error
    return content
