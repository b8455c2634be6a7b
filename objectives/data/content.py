"""Ids of examples and the hash of prepared data, both of the content alone."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from json.encoder import encode_basestring_ascii

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
        for line in _lines(split):
            digest.update(line.encode())
    digest.update(json.dumps(data.labels).encode())
    return digest.hexdigest()


def _lines(examples: Examples) -> Iterator[str]:
    """Return what is hashed of each example: its fields by name as `json.dumps` writes them, in a line.

    A mask is a field only where there is one, so that hashes of examples without stay.
    """
    as_json = encode_basestring_ascii
    starts = examples.offsets[:-1]
    answers = (starts + examples.prompt_lengths).tolist()
    texts = zip(examples.example_ids, examples.groups, examples.prompts, examples.references, strict=True)
    places = zip(starts.tolist(), answers, examples.offsets[1:].tolist(), strict=True)
    for (start, answer, end), (example_id, group, prompt, reference) in zip(places, texts, strict=True):
        ids = examples.token_ids[start:end].tolist()
        mask = ""
        if examples.learned is not None:
            mask = f'"learned": {json.dumps(examples.learned[start:end].tolist())}, '
        yield (
            f'{{"answer_ids": {ids[answer - start :]}, "example_id": {as_json(example_id)}, '
            f'"group": {as_json(group)}, {mask}"prompt": {as_json(prompt)}, '
            f'"prompt_ids": {ids[: answer - start]}, "reference": {as_json(reference)}}}\n'
        )
