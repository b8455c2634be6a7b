"""How many trials train together on one worker, and how much of them in one pass."""

from typing import Annotated

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


def trials_taken(slots: int) -> int:
    """Trials that a worker of so many slots takes at once: some wait for a slot, or for their last scores."""
    return slots + (max(1, slots // 4) if slots > 1 else 0)


class PackingSpec(Frozen):
    """The pack of a worker: trials that train at once on one base. It changes speed and memory.

    Results change by rounding, which a learning rate that is too high makes large.
    """

    slots: Annotated[Int, Field(ge=1, le=256)] | None = None
    """Trials that train at once on one worker; null chooses: on a GPU as many as keep it busy and fit, up
    to 16; on a CPU one."""
    tokens_per_pass: Annotated[Int, Field(ge=16, le=1_048_576)] | None = None
    """Tokens of all trials together in one pass: their sequences are concatenated up to it, and one that is
    longer raises it for that pass; null chooses by memory and device."""
    cache_base: bool | None = None
    """Keep a quantised base in the compute dtype too: the same numbers, no dequantisation in every pass, more
    memory; null does so where it fits."""
