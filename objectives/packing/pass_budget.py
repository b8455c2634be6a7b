"""Which sequences go into the next pass: the slots take turns until the tokens of a pass are used up."""

import heapq
from collections.abc import Mapping, Sequence

from loratory.objectives.packing.shapes import round_up


class PassBudget:
    """Counts the tokens of a pass, padding included, while sequences are added."""

    def __init__(self, tokens: int, *, granule: int = 1, apart: bool = False) -> None:
        """Start with an empty pass.

        Args:
            tokens: the most that a pass may have.
            granule: the tokens of each slot are padded to a multiple of it.
            apart: whether each sequence is a row of its own, padded to the longest row, and rows to a
                multiple of `granule`.
        """
        self._tokens, self._granule, self._apart = tokens, granule, apart
        self._by_slot: dict[int, int] = {}
        self._padded = self._rows = self._row = 0

    def fits(self, slot: int, length: int) -> bool:
        """Return whether a sequence of `length` tokens can be added; to an empty pass any sequence can."""
        return self._rows == 0 or self._padded_with(slot, length) <= self._tokens

    def add(self, slot: int, length: int) -> None:
        """Count a sequence of `length` tokens of a slot."""
        self._padded = self._padded_with(slot, length)
        self._by_slot[slot] = self._by_slot.get(slot, 0) + length
        self._rows, self._row = self._rows + 1, max(self._row, round_up(length, self._granule))

    def _padded_with(self, slot: int, length: int) -> int:
        """Return the tokens of the pass, padding included, with one more sequence."""
        if self._apart:
            return (self._rows + 1) * max(self._row, round_up(length, self._granule))
        so_far = self._by_slot.get(slot, 0)
        return self._padded - round_up(so_far, self._granule) + round_up(so_far + length, self._granule)


def share_out(waiting: Mapping[int, Sequence[int]], budget: PassBudget) -> dict[int, list[int]]:
    """Choose sequences for a pass from those that wait in each slot.

    The slot with the fewest tokens so far adds its longest sequence that still fits, until nothing fits. So
    all slots progress at the same rate, and short sequences fill the rest of a pass.

    Args:
        waiting: lengths of the waiting sequences by slot. The longest sequence of the first slot is chosen in
            any case, so that a sequence longer than a pass has its turn too.
        budget: of the empty pass.

    Returns:
        Indices into the lists of lengths, by slot, for the slots that got something.
    """
    order = {slot: sorted(range(len(w)), key=lambda i: (-w[i], i)) for slot, w in waiting.items() if w}
    chosen: dict[int, list[int]] = {}
    turns = [(0, number, slot) for number, slot in enumerate(order)]
    heapq.heapify(turns)
    while turns:
        so_far, number, slot = heapq.heappop(turns)
        lengths = waiting[slot]
        found = next((i for i in order[slot] if budget.fits(slot, lengths[i])), None)
        if found is None:
            continue
        order[slot].remove(found)
        chosen.setdefault(slot, []).append(found)
        budget.add(slot, lengths[found])
        heapq.heappush(turns, (so_far + lengths[found], number, slot))
    return chosen
