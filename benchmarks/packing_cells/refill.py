"""The cost of giving one slot of a running pack to another trial."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from packing_cells.device_memory import synchronize

# Repeats, and passes of a block: passes overlap with the CPU's work, so that single ones cannot be timed.
_ON_GPU, _ON_CPU = (8, 4), (2, 2)


def refill_cost(
    advance: Callable[[], None], refill: Callable[[int], None], *, slots: int, device: torch.device
) -> dict[str, float]:
    """Measure the extra time of a block of passes in which one slot is handed over.

    Args:
        advance: makes a pass and the updates that it completes; a step of all slots.
        refill: empties a slot and puts in an adapter that was made before.
        slots: number of slots; each is refilled in its turn.
        device: what passes run on.

    Returns:
        `refill_seconds`, and `refill_pack_steps`: the same in steps of the pack. Medians; noise may bring
        them below zero.
    """
    repeats, passes = _ON_GPU if device.type == "cuda" else _ON_CPU
    plain, refilled = [], []
    for number in range(repeats):
        plain.append(_block(advance, lambda: None, passes=passes, device=device))
        hand_over = partial(refill, number % slots)
        refilled.append(_block(advance, hand_over, passes=passes, device=device))
    extra = statistics.median(refilled) - statistics.median(plain)
    return {
        "refill_seconds": extra,
        "refill_pack_steps": extra / (statistics.median(plain) / passes),
    }


def _block(
    advance: Callable[[], None], between: Callable[[], None], *, passes: int, device: torch.device
) -> float:
    """Seconds of some passes, with something done after half of them, while the last may still run."""
    synchronize(device)
    started = time.perf_counter()
    for number in range(passes):
        if number == passes // 2:
            between()
        advance()
    synchronize(device)
    return time.perf_counter() - started
