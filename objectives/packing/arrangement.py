"""Which sequences go into the next pass: every slot gets its turn, up to the tokens of a pass."""

import heapq
from collections.abc import Mapping, Sequence


def share_out(waiting: Mapping[int, Sequence[int]], *, tokens: int) -> dict[int, list[int]]:
    """Choose from what each slot has left of its batch.

    The slot with the fewest tokens so far takes its longest sequence that still fits, until nothing fits. So
    all slots go on at one pace, and what is left of a pass is filled by whoever has something small.

    Args:
        waiting: lengths by slot; the first slot takes its longest sequence in any case, so that one which
            is longer than a pass has its turn too.
        tokens: of a pass.

    Returns:
        Places in the lists of lengths, by slot, for the slots that got something.
    """
    order = {slot: sorted(range(len(w)), key=lambda i: (-w[i], i)) for slot, w in waiting.items() if w}
    taken: dict[int, list[int]] = {}
    room = tokens
    turns = [(0, number, slot) for number, slot in enumerate(order)]
    heapq.heapify(turns)
    while turns:
        so_far, number, slot = heapq.heappop(turns)
        lengths = waiting[slot]
        found = next((i for i in order[slot] if lengths[i] <= room or not taken), None)
        if found is None:
            continue
        order[slot].remove(found)
        taken.setdefault(slot, []).append(found)
        room -= lengths[found]
        heapq.heappush(turns, (so_far + lengths[found], number, slot))
    return taken
