"""examples.json: ids and groups of every split in its fixed order, and how prompts are made."""

import json
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

from loratory.objectives.data.prepared import Examples, PreparedData
from loratory.objectives.data.rendering import PromptStyle


def listing(data: PreparedData, style: PromptStyle, *, date: str | None, kept_tokens: Sequence[str]) -> bytes:
    """Return the content of examples.json.

    Args:
        data: the splits.
        style: how prompts are made.
        date: the date that prompts state, if they do.
        kept_tokens: special tokens that answers hold.
    """
    fields: dict[str, Any] = {"sha256": data.sha256, "prompt_style": style}
    if date is not None:
        fields["prompt_date"] = date
    if kept_tokens:
        fields["kept_tokens"] = kept_tokens
    fields |= {"labels": data.labels, "splits": {}}
    head = json.dumps(fields, indent=1, ensure_ascii=False).removesuffix("{}\n}")
    splits = [f'  "{name}": {_entries(split)}' for name, split in data.named_splits.items()]
    return (head + "{\n" + ",\n".join(splits) + "\n }\n}\n").encode()


def _entries(examples: Examples) -> str:
    """Return ids and groups as `json.dumps(indent=1)` writes them, which takes a minute for a million."""
    as_json = encode_basestring
    entries = [
        f'   {{\n    "id": {as_json(example_id)},\n    "group": {as_json(group)}\n   }}'
        for example_id, group in zip(examples.example_ids, examples.groups, strict=True)
    ]
    return "[\n" + ",\n".join(entries) + "\n  ]" if entries else "[]"
