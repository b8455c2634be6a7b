"""Rows that repeat another row, or that stand in eval or test as well as in train."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Ledger, Part, Reason, Row
from loratory.objectives.data.similarity import Shingler, Shingles, SimilarityIndex, without_common
from loratory.spaces.data import CleaningSpec

# A text that stands before this many prompts is an instruction that they share, and is not compared.
_SHARED_BY = 10


def normalised(row: Row) -> str:
    """Prompt and answer in composed Unicode with single spaces: equal where rows are, to the letter."""
    texts = [*(turn.text for turn in row.turns), row.answer]
    return "\x1f".join(" ".join(unicodedata.normalize("NFC", text).split()) for text in texts)


def without_exact_duplicates(examples: Iterable[Encoded], part: Part, ledger: Ledger) -> list[Encoded]:
    """The first of every set of equal rows."""
    first: dict[str, Encoded] = {}
    for example in examples:
        earlier = first.setdefault(normalised(example.row), example)
        if earlier is not example:
            detail = f"repeats {earlier.row.raw.place}"
            ledger.remove(part, example.row.raw, reason=Reason.EXACT_DUPLICATE, detail=detail)
    return list(first.values())


def clean_train(
    train: Sequence[Encoded],
    held_out: Sequence[tuple[Part, Encoded]],
    *,
    cleaning: CleaningSpec,
    ledger: Ledger,
) -> list[Encoded]:
    """Training rows that repeat neither an earlier one nor one of eval or test.

    Args:
        train: rows in order.
        held_out: rows of eval and test.
        cleaning: which rules hold.
        ledger: takes what is removed.
    """
    kept = list(train)
    if cleaning.exact_duplicates:
        kept = without_exact_duplicates(kept, Part.TRAIN, ledger)
    if cleaning.leaked:
        kept = _without_leaked(kept, held_out, ledger)
    if cleaning.near_duplicate_threshold is not None:
        near = _NearDuplicates(
            kept, held_out if cleaning.leaked else (), threshold=cleaning.near_duplicate_threshold
        )
        kept = near.removed_from(ledger)
    return kept


def _without_leaked(
    train: Sequence[Encoded], held_out: Sequence[tuple[Part, Encoded]], ledger: Ledger
) -> list[Encoded]:
    places = {normalised(e.row): f"{part} ({e.row.raw.place})" for part, e in reversed(held_out)}
    kept = []
    for example in train:
        place = places.get(normalised(example.row))
        if place is None:
            kept.append(example)
        else:
            detail = f"stands in {place}"
            ledger.remove(Part.TRAIN, example.row.raw, reason=Reason.LEAKED, detail=detail)
    return kept


class _NearDuplicates:
    """Train against eval and test, and against itself."""

    def __init__(
        self, train: Sequence[Encoded], held_out: Sequence[tuple[Part, Encoded]], *, threshold: float
    ) -> None:
        self._train, self._held_out = train, held_out
        self._examples = [*(example for _, example in held_out), *train]
        self._index = SimilarityIndex(_compared([e.row for e in self._examples]), threshold)

    def removed_from(self, ledger: Ledger) -> list[Encoded]:
        """The training rows that are like none before; the others go to the ledger."""
        for position in range(len(self._held_out)):
            self._index.add(position)
        kept = []
        for position, example in enumerate(self._train, len(self._held_out)):
            match = self._index.find(position)
            if match is None:
                self._index.add(position)
                kept.append(example)
            else:
                reason, detail = self._described(*match)
                ledger.remove(Part.TRAIN, example.row.raw, reason=reason, detail=detail)
        return kept

    def _described(self, position: int, similarity: float) -> tuple[Reason, str]:
        place = self._examples[position].row.raw.place
        if position < len(self._held_out):
            part = self._held_out[position][0]
            return Reason.LEAKED, f"Jaccard similarity {similarity:.3f} to {part} ({place})"
        return Reason.NEAR_DUPLICATE, f"Jaccard similarity {similarity:.3f} to {place}"


def _compared(rows: Sequence[Row]) -> list[Shingles]:
    """Shingles of each row without the instructions and templates that rows share."""
    uses = Counter(turn.text for row in rows for turn in set(row.turns))
    shingler = Shingler()
    texts = []
    for row in rows:
        own = [turn.text for turn in row.turns if uses[turn.text] < _SHARED_BY]
        prompt = own or [turn.text for turn in row.turns]
        texts.append(shingler.shingles("\n".join([*prompt, row.answer])))
    return without_common(texts)
