"""Read a data set from the Hub, or from a folder that `datasets` can read."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from loratory.objectives.data.arrow_rows import BATCH_ROWS, numbered
from loratory.objectives.data.files import as_raw_rows
from loratory.objectives.data.rows import Part, RawRow
from loratory.objectives.data.saved import USUAL_SPLITS, missing_split
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError


def read_hub(name: str, part: Part, data: DataSpec) -> list[RawRow]:
    """Read all rows of one split, as `iterate_hub` does."""
    return list(iterate_hub(name, part, data))


def iterate_hub(name: str, part: Part, data: DataSpec) -> Iterator[RawRow]:
    """Read the rows of one split, one by one.

    Args:
        name: `owner/name`, or `owner/name:split` with a split as `datasets` accepts it (`train[:5%]`).
        part: the part of the study; without `:split`, the split of its usual name is read.
        data: configuration name, revision and treatment of bad rows.

    Raises:
        InputError: the data set cannot be found, reached or read, or the split is missing or empty.
    """
    identifier, _, split = name.partition(":")
    with tempfile.TemporaryDirectory(prefix="loratory-data-") as folder:
        # A local folder may change and keep its name, so its cache must not outlive the read.
        cache = folder if Path(identifier).is_dir() else None
        try:
            table = _load(identifier, split or _usual_split(identifier, part, data), data, cache)
            yield from as_raw_rows(_rows(table, name), name, data.bad_rows)
        except InputError:
            raise
        except Exception as error:  # the Hub client, fsspec and every file format raise their own
            raise InputError(f"data.{part} {name}: {_cause(error)}") from error


def _rows(table: Any, name: str) -> Iterator[tuple[int, Any]]:
    """Return the rows as Arrow holds them: images and sounds, which no study reads, stay encoded."""
    names = {
        column: feature.names for column, feature in table.features.items() if hasattr(feature, "int2str")
    }
    return numbered(table.with_format("arrow").iter(batch_size=BATCH_ROWS), name, names)


def _load(identifier: str, split: str, data: DataSpec, cache: str | None) -> Any:
    import datasets

    load = partial(datasets.load_dataset, identifier, data.hub_config, split=split, cache_dir=cache)
    if cache is not None and _guesses_types(identifier, data, cache):
        text = datasets.Value("string")
        features = datasets.Features(dict.fromkeys(load().column_names, text))
        return load(features=features, keep_default_na=False)
    return load(revision=data.hub_revision)


def _guesses_types(folder: str, data: DataSpec, cache: str) -> bool:
    """Return whether `datasets` would guess the types of a folder's CSV, and make null of `None` or `NA`."""
    import datasets
    from datasets.packaged_modules.csv.csv import CsvConfig

    builder = datasets.load_dataset_builder(folder, data.hub_config, cache_dir=cache)
    return isinstance(builder.config, CsvConfig) and builder.info.features is None


def _usual_split(identifier: str, part: Part, data: DataSpec) -> str:
    import datasets

    splits = datasets.get_dataset_split_names(identifier, data.hub_config, revision=data.hub_revision)
    found = next((split for split in USUAL_SPLITS[part] if split in splits), None)
    if found is None:
        raise InputError(missing_split(part, identifier, USUAL_SPLITS[part], splits))
    return found


def _cause(error: BaseException) -> str:
    """Return the error in one line; for a DatasetGenerationError its cause, which names the row."""
    while error.__cause__ is not None and "generating the dataset" in str(error):
        error = error.__cause__
    lines = str(error).strip().splitlines() or ["an empty file"]
    remedy = "; check the name and the network, or use a local file" if isinstance(error, OSError) else ""
    return f"must be a data set that can be read: {type(error).__name__}: {lines[0]}{remedy}"
