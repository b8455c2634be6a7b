"""Remove rows that repeat another row of their split, or that are also in a held-out split."""

from collections.abc import Mapping

from loratory.objectives.data.encoded_rows import EncodedRows, Indices, keep
from loratory.objectives.data.near_duplicates import NearIndex
from loratory.objectives.data.rows import Ledger, Part, Reason
from loratory.spaces.data import CleaningSpec, NearDuplicates

_LEAKS_FROM = {Part.TEST: (Part.EVAL,), Part.TRAIN: (Part.EVAL, Part.TEST)}


def without_exact_duplicates(rows: EncodedRows, indices: Indices, part: Part, ledger: Ledger) -> Indices:
    """Return the first of every set of equal rows; the others go to the ledger."""
    first: dict[bytes, int] = {}
    problems = {}
    for index in indices.tolist():
        earlier = first.setdefault(rows.compared.digest(index), index)
        if earlier != index:
            problems[index] = (Reason.EXACT_DUPLICATE, f"repeats {rows.place(earlier)}")
    return keep(rows, indices, problems, part=part, ledger=ledger)


def clean(
    rows: EncodedRows,
    parts: Mapping[Part, Indices],
    *,
    cleaning: CleaningSpec,
    near_duplicates: NearDuplicates = NearDuplicates.PARTS,
    ledger: Ledger,
) -> dict[Part, Indices]:
    """Return the splits without rows that repeat another row.

    If a row is in several splits, eval keeps it rather than test, and test rather than train.

    Args:
        rows: all rows.
        parts: indices of the rows of each split, in order.
        cleaning: the rules to apply.
        near_duplicates: what must be near in near duplicates and leaks.
        ledger: gets the removed rows.
    """
    kept = {part: parts[part] for part in (Part.EVAL, Part.TEST, Part.TRAIN)}
    if cleaning.exact_duplicates:
        kept = {part: without_exact_duplicates(rows, kept[part], part, ledger) for part in kept}
    if cleaning.leaked:
        for part in _LEAKS_FROM:
            kept[part] = _without_leaked(rows, kept, part, ledger)
    if cleaning.near_duplicate_threshold is not None:
        compared = kept if cleaning.leaked else {Part.TRAIN: kept[Part.TRAIN]}
        by_parts = near_duplicates is NearDuplicates.PARTS
        near = NearIndex(rows, compared, threshold=cleaning.near_duplicate_threshold, by_parts=by_parts)
        kept |= {part: near.removed_from(part, ledger) for part in compared}
    return {part: kept[part] for part in Part}


def _without_leaked(rows: EncodedRows, kept: Mapping[Part, Indices], part: Part, ledger: Ledger) -> Indices:
    held_out = [(other, index) for other in _LEAKS_FROM[part] for index in kept[other].tolist()]
    places = {rows.compared.digest(i): f"{other} ({rows.place(i)})" for other, i in reversed(held_out)}
    problems = {}
    for index in kept[part].tolist():
        place = places.get(rows.compared.digest(index))
        if place is not None:
            problems[index] = (Reason.LEAKED, f"stands in {place}")
    return keep(rows, kept[part], problems, part=part, ledger=ledger)
