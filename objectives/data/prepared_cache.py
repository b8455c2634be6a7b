"""Prepared data in the study folder, so that a resume prepares nothing again."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from loratory.objectives.data.preparation import DataPreparation
from loratory.objectives.data.prepared_file import DamagedError, from_bytes, to_bytes
from loratory.objectives.study_folder import PREPARED


def prepare_once(
    prepare: Callable[[], DataPreparation], *, folder: Path | None, key: Callable[[], str | None]
) -> DataPreparation:
    """Return prepared data: what the study folder keeps, if it was made of the same, else what is made now.

    Args:
        prepare: prepares the data.
        folder: folder of the study's data; None keeps nothing.
        key: names all that the data is made of; None if that cannot be told.

    Returns:
        The preparation. What is made now has the file to keep among its files; it replaces an earlier one.
    """
    made_of = key() if folder is not None else None
    if folder is None or made_of is None:
        return prepare()
    file, damaged = folder / PREPARED, False
    try:
        found = from_bytes(file.read_bytes(), made_of)
    except OSError:
        found = None
    except DamagedError:
        found, damaged = None, True
    if found is not None:
        return found
    prepared = prepare()
    if damaged:
        line = f"{file} was damaged: the data is prepared again"
        prepared = replace(prepared, summary=(*prepared.summary, line))
    with suppress(OSError):  # a source is gone meanwhile
        if key() == made_of:
            return replace(prepared, files=prepared.files | {PREPARED: to_bytes(prepared, made_of)})
    return prepared
