"""Find near duplicates: MinHash LSH proposes candidates, and a comparison of the texts decides."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.minhash import band_keys, mixed_keys, signatures
from loratory.objectives.data.shingles import ShingleSets, jaccard

# The estimate's standard deviation is at most 0.045: this far below the threshold no match is to be found.
_MARGIN = 0.2


class SimilarityIndex:
    """Finds a text whose similarity reaches the threshold, among the texts added so far.

    Args:
        texts: shingles of every text that may be added or looked up; a text is named by its position.
        threshold: least Jaccard similarity, in (0, 1].
        kinds: kind of each text; texts of different kinds are never similar. None: all are of one kind.
        twins: a number of each text; texts with the same one are candidates too, if of one kind or not.
        accepts: whether two texts, of which the first is in the index, may be similar; None: any may.
    """

    def __init__(
        self,
        texts: ShingleSets,
        threshold: float,
        *,
        kinds: Sequence[Hashable] | None = None,
        twins: NDArray[np.uint64] | None = None,
        accepts: Callable[[int, int], bool] | None = None,
    ) -> None:
        self._texts, self._threshold = texts, threshold
        self._accepts = accepts or (lambda _first, _second: True)
        self._signatures = signatures(texts)
        keys = band_keys(self._signatures, threshold)
        if kinds is not None:
            keys = mixed_keys(keys, _numbered(kinds))
        buckets = [_shared(key) for key in keys] + ([] if twins is None else [_shared(twins)])
        self._buckets = np.stack(buckets, axis=1)
        # Most texts share no band with any other: they are neither looked up nor stored.
        self._shares = (self._buckets >= 0).any(axis=1) & (np.diff(texts.offsets) > 0)
        self._added: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, position: int) -> None:
        """Add a text to the index. A text without shingles is never found."""
        if self._shares[position]:
            for bucket in self._buckets_of(position):
                self._added[bucket].append(position)

    def find(self, position: int) -> tuple[int, float] | None:
        """Return the position and the similarity of an added text that reaches the threshold, or None."""
        if not self._shares[position]:
            return None
        found = {other for bucket in self._buckets_of(position) for other in self._added.get(bucket, ())}
        if not found:
            return None
        candidates = np.array(sorted(found), dtype=np.int64)
        estimates = (self._signatures[candidates] == self._signatures[position]).mean(axis=1)
        hopeful = estimates >= self._threshold - _MARGIN
        order = np.argsort(-estimates[hopeful], kind="stable")
        for candidate in candidates[hopeful][order].tolist():
            similarity = jaccard(self._texts[candidate], self._texts[position])
            if similarity >= self._threshold and self._accepts(candidate, position):
                return candidate, similarity
        return None

    def _buckets_of(self, position: int) -> list[tuple[int, int]]:
        return [(band, key) for band, key in enumerate(self._buckets[position].tolist()) if key >= 0]


def _shared(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return a number for each key that several texts have, int32 [n]; -1 for a key of one text."""
    _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    numbers = places.astype(np.int32)
    numbers[counts[places] < 2] = -1
    return numbers


def _numbered(kinds: Sequence[Hashable]) -> NDArray[np.uint64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds], dtype=np.uint64)
