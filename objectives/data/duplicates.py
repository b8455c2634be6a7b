"""Remove rows that repeat another row of their split, or that are also in a held-out split."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Ledger, Part, Reason, Row, Turn
from loratory.objectives.data.similarity import Shingler, Shingles, SimilarityIndex, without_common
from loratory.spaces.data import CleaningSpec

# A turn that is in this many rows is an instruction that they share, and is not compared.
_SHARED_BY = 10

_LEAKS_FROM = {Part.TEST: (Part.EVAL,), Part.TRAIN: (Part.EVAL, Part.TEST)}


def normalised(row: Row) -> str:
    """Return prompt and answer in composed Unicode (NFC) with single spaces, to find exact duplicates."""
    texts = [*(turn.text for turn in row.turns), row.answer]
    return "\x1f".join(" ".join(unicodedata.normalize("NFC", text).split()) for text in texts)


def without_exact_duplicates(examples: Iterable[Encoded], part: Part, ledger: Ledger) -> list[Encoded]:
    """Return the first of every set of equal rows; the others go to the ledger."""
    first: dict[str, Encoded] = {}
    for example in examples:
        earlier = first.setdefault(normalised(example.row), example)
        if earlier is not example:
            detail = f"repeats {earlier.row.raw.place}"
            ledger.remove(part, example.row.raw, reason=Reason.EXACT_DUPLICATE, detail=detail)
    return list(first.values())


def clean(
    parts: Mapping[Part, Sequence[Encoded]], *, cleaning: CleaningSpec, ledger: Ledger
) -> dict[Part, list[Encoded]]:
    """Return the splits without rows that repeat another row.

    If a row is in several splits, eval keeps it rather than test, and test rather than train.

    Args:
        parts: rows of each split, in order.
        cleaning: the rules to apply.
        ledger: gets the removed rows.
    """
    kept = {part: list(parts[part]) for part in (Part.EVAL, Part.TEST, Part.TRAIN)}
    if cleaning.exact_duplicates:
        kept = {part: without_exact_duplicates(rows, part, ledger) for part, rows in kept.items()}
    if cleaning.leaked:
        for part in _LEAKS_FROM:
            kept[part] = _without_leaked(kept, part, ledger)
    if cleaning.near_duplicate_threshold is not None:
        compared = kept if cleaning.leaked else {Part.TRAIN: kept[Part.TRAIN]}
        near = _NearDuplicates(compared, threshold=cleaning.near_duplicate_threshold)
        kept |= {part: near.removed_from(part, ledger) for part in compared}
    return {part: kept[part] for part in Part}


def _without_leaked(kept: Mapping[Part, list[Encoded]], part: Part, ledger: Ledger) -> list[Encoded]:
    held_out = [(other, example) for other in _LEAKS_FROM[part] for example in kept[other]]
    places = {normalised(e.row): f"{other} ({e.row.raw.place})" for other, e in reversed(held_out)}
    clean_rows = []
    for example in kept[part]:
        place = places.get(normalised(example.row))
        if place is None:
            clean_rows.append(example)
        else:
            ledger.remove(part, example.row.raw, reason=Reason.LEAKED, detail=f"stands in {place}")
    return clean_rows


class _NearDuplicates:
    """An index of all splits; each split is compared with the earlier ones, and train with itself too."""

    def __init__(self, parts: Mapping[Part, Sequence[Encoded]], *, threshold: float) -> None:
        self._placed = [(part, example) for part, rows in parts.items() for example in rows]
        texts, kinds = _compared([example.row for _, example in self._placed])
        self._index = SimilarityIndex(texts, threshold, kinds=kinds)

    def removed_from(self, part: Part, ledger: Ledger) -> list[Encoded]:
        """Return the rows of the next split that are like no earlier row; the others go to the ledger."""
        kept = []
        for position, (of, example) in enumerate(self._placed):
            if of is not part:
                continue
            match = None if part is Part.EVAL else self._index.find(position)
            if match is not None:
                reason, detail = self._described(part, *match)
                ledger.remove(part, example.row.raw, reason=reason, detail=detail)
                continue
            kept.append((position, example))
            if part is Part.TRAIN:
                self._index.add(position)
        if part is not Part.TRAIN:
            # Eval and test keep their own near copies: only later splits are compared with these rows.
            for position, _ in kept:
                self._index.add(position)
        return [example for _, example in kept]

    def _described(self, part: Part, position: int, similarity: float) -> tuple[Reason, str]:
        of, example = self._placed[position]
        place = example.row.raw.place
        if of is part:
            return Reason.NEAR_DUPLICATE, f"Jaccard similarity {similarity:.3f} to {place}"
        return Reason.LEAKED, f"Jaccard similarity {similarity:.3f} to {of} ({place})"


def _compared(rows: Sequence[Row]) -> tuple[list[Shingles], list[tuple[Turn, ...]]]:
    """Return the shingles of each row without shared instructions and templates, and those instructions.

    Rows under different instructions ask for different things, however similar the rest is.
    """
    uses = Counter(turn.text for row in rows for turn in set(row.turns))
    shingler = Shingler()
    texts, kinds = [], []
    for row in rows:
        own = tuple(turn for turn in row.turns if uses[turn.text] < _SHARED_BY) or row.turns
        texts.append(shingler.shingles("\n".join([*(turn.text for turn in own), row.answer])))
        kinds.append(tuple(turn for turn in row.turns if turn not in own))
    return without_common(texts), kinds
