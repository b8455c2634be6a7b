"""Ids of examples and the hash of prepared data, both of the content alone."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from loratory.objectives.data.encoded_rows import Indices
from loratory.objectives.data.prepared import Examples, PreparedData
from loratory.objectives.data.texts import Texts


def with_unique_ids(examples: Examples, order: Sequence[Indices]) -> Examples:
    """Return examples of which no two of the named ones share an id.

    Args:
        examples: examples with the ids of their contents.
        order: indices of examples in the order in which they are named. Eval is named first, so that its ids
            do not depend on train.
    """
    uses: Counter[str] = Counter()
    ids = list(examples.example_ids)
    for indices in order:
        for index in indices.tolist():
            content_id = ids[index]
            uses[content_id] += 1
            if uses[content_id] > 1:
                ids[index] = f"{content_id}-{uses[content_id]}"
    return replace(examples, example_ids=Texts.of(ids))


def content_hash(data: PreparedData) -> str:
    """Return the SHA-256, in hex, of all fields but this hash; equal on every machine."""
    digest = hashlib.sha256()
    for name, split in data.named_splits.items():
        digest.update(f"{name}\n".encode())
        for fields in _fields(split):
            digest.update((json.dumps(fields, sort_keys=True) + "\n").encode())
    digest.update(json.dumps(data.labels).encode())
    return digest.hexdigest()


def _fields(examples: Examples) -> Iterator[dict[str, Any]]:
    """Return what is hashed of each example; a mask only where it has one, so that old hashes stay."""
    for example in examples:
        yield {name: value for name, value in vars(example).items() if value is not None}
