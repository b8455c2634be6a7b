"""Check that a base has a row of its embedding and of its output head for every token of the data."""

from typing import Any

import numpy as np

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.records import Check
from loratory.spaces.errors import InputError

NAME = "vocabulary"
_MOST_TOKENS = 3


def check_vocabulary(data: PreparedData, architecture: Architecture, tokenizer: Any) -> Check:
    """Compare the largest token of the data with the number of rows; one beyond them ends a GPU's process.

    Args:
        data: the splits.
        architecture: gives the number of rows.
        tokenizer: the tokenizer of the base, for the message.

    Raises:
        InputError: a token has no row.
    """
    rows = architecture.vocabulary
    ids = [split.token_ids for split in data.named_splits.values()]
    if rows is None:
        return Check(name=NAME, detail="the model does not tell how many tokens it knows")
    largest = max(int(tokens.max(initial=0)) for tokens in ids)
    if largest < rows:
        return Check(name=NAME, passed=True, detail=f"the largest token of the data is {largest} of {rows}")
    beyond = np.unique(np.concatenate([tokens[tokens >= rows] for tokens in ids]))
    named = ", ".join(f"{tokenizer.decode([token])!r} is {token}" for token in beyond[:_MOST_TOKENS].tolist())
    more = ", ..." if len(beyond) > _MOST_TOKENS else ""
    raise InputError(
        f"model.base: {architecture.name} must know every token of the data, has tokens 0 to {rows - 1}, its "
        f"tokenizer's {named}{more}; take the tokenizer that was saved with the weights, or a base whose "
        "embedding was made larger for it"
    )
