"""Which sequences go into the next pass: every slot gets its turn, up to the tokens of a pass."""

import heapq
from collections.abc import Mapping, Sequence


class _Room:
    """What is left of a pass."""

    def __init__(self, tokens: int, padded_to: int | None) -> None:
        self._tokens, self._padded_to = tokens, padded_to
        self._taken = self._rows = self._row = 0

    def fits(self, length: int) -> bool:
        """Whether there is room for a sequence; in an empty pass there always is."""
        return self._rows == 0 or self._with(length) <= self._tokens

    def take(self, length: int) -> None:
        self._taken, self._row, self._rows = self._with(length), self._row_with(length), self._rows + 1

    def _with(self, length: int) -> int:
        if self._padded_to is None:
            return self._taken + length
        return (self._rows + 1) * self._row_with(length)

    def _row_with(self, length: int) -> int:
        step = self._padded_to or 1
        return max(self._row, -(-length // step) * step)


def share_out(
    waiting: Mapping[int, Sequence[int]], *, tokens: int, padded_to: int | None = None
) -> dict[int, list[int]]:
    """Choose from what each slot has left of its batch.

    The slot with the fewest tokens so far takes its longest sequence that still fits, until nothing fits. So
    all slots go on at one pace, and what is left of a pass is filled by whoever has something small.

    Args:
        waiting: lengths by slot; the first slot takes its longest sequence in any case, so that one which
            is longer than a pass has its turn too.
        tokens: of a pass.
        padded_to: where every sequence is a row of its own, as long as the longest: rows have a multiple of
            so many tokens, and all of them count. None where sequences follow each other without a gap.

    Returns:
        Places in the lists of lengths, by slot, for the slots that got something.
    """
    order = {slot: sorted(range(len(w)), key=lambda i: (-w[i], i)) for slot, w in waiting.items() if w}
    taken: dict[int, list[int]] = {}
    room = _Room(tokens, padded_to)
    turns = [(0, number, slot) for number, slot in enumerate(order)]
    heapq.heapify(turns)
    while turns:
        so_far, number, slot = heapq.heappop(turns)
        lengths = waiting[slot]
        found = next((i for i in order[slot] if room.fits(lengths[i])), None)
        if found is None:
            continue
        order[slot].remove(found)
        taken.setdefault(slot, []).append(found)
        room.take(lengths[found])
        heapq.heappush(turns, (so_far + lengths[found], number, slot))
    return taken
