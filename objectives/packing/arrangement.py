"""Which sequences go into the next pass: every slot gets its turn, up to the tokens of a pass."""

import heapq
from collections.abc import Mapping, Sequence

from loratory.objectives.packing.shapes import round_up


class Room:
    """What is left of a pass, padding counted."""

    def __init__(self, tokens: int, *, granule: int = 1, apart: bool = False) -> None:
        """An empty pass.

        Args:
            tokens: of a pass.
            granule: the tokens of each slot are padded to a multiple of so many.
            apart: whether every sequence is a row of its own, as long as the longest, and padded itself.
        """
        self._tokens, self._granule, self._apart = tokens, granule, apart
        self._by_slot: dict[int, int] = {}
        self._padded = self._rows = self._row = 0

    def fits(self, slot: int, length: int) -> bool:
        """Whether there is room for a sequence; in an empty pass there always is."""
        return self._rows == 0 or self._padded_with(slot, length) <= self._tokens

    def take(self, slot: int, length: int) -> None:
        """Put a sequence in."""
        self._padded = self._padded_with(slot, length)
        self._by_slot[slot] = self._by_slot.get(slot, 0) + length
        self._rows, self._row = self._rows + 1, max(self._row, round_up(length, self._granule))

    def _padded_with(self, slot: int, length: int) -> int:
        if self._apart:
            return (self._rows + 1) * max(self._row, round_up(length, self._granule))
        so_far = self._by_slot.get(slot, 0)
        return self._padded - round_up(so_far, self._granule) + round_up(so_far + length, self._granule)


def share_out(waiting: Mapping[int, Sequence[int]], room: Room) -> dict[int, list[int]]:
    """Choose from what each slot has left of its batch.

    The slot with the fewest tokens so far takes its longest sequence that still fits, until nothing fits. So
    all slots go on at one pace, and what is left of a pass is filled by whoever has something small.

    Args:
        waiting: lengths by slot; the first slot takes its longest sequence in any case, so that one which
            is longer than a pass has its turn too.
        room: the pass, empty.

    Returns:
        Places in the lists of lengths, by slot, for the slots that got something.
    """
    order = {slot: sorted(range(len(w)), key=lambda i: (-w[i], i)) for slot, w in waiting.items() if w}
    taken: dict[int, list[int]] = {}
    turns = [(0, number, slot) for number, slot in enumerate(order)]
    heapq.heapify(turns)
    while turns:
        so_far, number, slot = heapq.heappop(turns)
        lengths = waiting[slot]
        found = next((i for i in order[slot] if room.fits(slot, lengths[i])), None)
        if found is None:
            continue
        order[slot].remove(found)
        taken.setdefault(slot, []).append(found)
        room.take(slot, lengths[found])
        heapq.heappush(turns, (so_far + lengths[found], number, slot))
    return taken
