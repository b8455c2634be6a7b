"""Read a data set from the Hub, or from a folder that `datasets` can read."""

import tempfile
from pathlib import Path
from typing import Any

from loratory.objectives.data.rows import Part, RawRow
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError

USUAL_SPLITS = {
    Part.TRAIN: ("train",),
    Part.EVAL: ("validation", "valid", "dev", "eval"),
    Part.TEST: ("test",),
}


def read_hub(name: str, part: Part, data: DataSpec) -> list[RawRow]:
    """Read all rows of one split.

    Args:
        name: `owner/name`, or `owner/name:split` with a split as `datasets` accepts it (`train[:5%]`).
        part: the part of the study; without `:split`, the split of its usual name is read.
        data: configuration name and revision.

    Raises:
        InputError: the data set cannot be found, reached or read, or the split is missing or empty.
    """
    identifier, _, split = name.partition(":")
    with tempfile.TemporaryDirectory(prefix="loratory-data-") as folder:
        # A local folder may change and keep its name, so its cache must not outlive the read.
        cache = folder if Path(identifier).is_dir() else None
        try:
            table = _load(identifier, split or _usual_split(identifier, part, data), data, cache)
            rows = [RawRow(file=name, number=n, fields=_named(row, table)) for n, row in enumerate(table, 1)]
        except InputError:
            raise
        except Exception as error:  # the Hub client, fsspec and every file format raise their own
            raise InputError(f"data.{part} {name}: {_cause(error)}") from error
    if not rows:
        raise InputError(f"data.{part} {name}: must hold rows, is empty")
    return rows


def _load(identifier: str, split: str, data: DataSpec, cache: str | None) -> Any:
    import datasets

    return datasets.load_dataset(
        identifier, data.hub_config, split=split, revision=data.hub_revision, cache_dir=cache
    )


def _usual_split(identifier: str, part: Part, data: DataSpec) -> str:
    import datasets

    splits = datasets.get_dataset_split_names(identifier, data.hub_config, revision=data.hub_revision)
    found = next((split for split in USUAL_SPLITS[part] if split in splits), None)
    if found is None:
        wanted = " or ".join(USUAL_SPLITS[part])
        raise InputError(
            f"data.{part} {identifier}: must have a split {wanted}, has {', '.join(splits)}; "
            f"name one as {identifier}:{splits[0]}"
        )
    return found


def _named(row: dict[str, Any], table: Any) -> dict[str, Any]:
    """Return the row with the names of class labels, where the data set has names."""
    names = {column: feature for column, feature in table.features.items() if hasattr(feature, "int2str")}
    labels = {c: f.int2str(row[c]) for c, f in names.items() if isinstance(row[c], int) and row[c] >= 0}
    return {**row, **labels}


def _cause(error: BaseException) -> str:
    """Return the error in one line; for a DatasetGenerationError its cause, which names the row."""
    while error.__cause__ is not None and "generating the dataset" in str(error):
        error = error.__cause__
    lines = str(error).strip().splitlines() or ["an empty file"]
    remedy = "; check the name and the network, or use a local file" if isinstance(error, OSError) else ""
    return f"must be a data set that can be read: {type(error).__name__}: {lines[0]}{remedy}"
