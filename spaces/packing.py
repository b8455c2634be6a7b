"""Number of trials that train together on one worker, and the size of their passes."""

from typing import Annotated, Literal

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


def trials_taken(slots: int) -> int:
    """Return how many trials a worker accepts at once: in `slots`, and one more where there are several.

    It waits for a slot, or another is being scored; more would be drawn before scores are known.
    """
    return slots + (slots > 1)


class PackingSpec(Frozen):
    """The pack of a worker: trials that train at once on one base.

    It changes speed and memory. Results change by rounding; too high a learning rate makes the change large.
    """

    slots: Annotated[Int, Field(ge=1, le=256)] | None = None
    """Trials that train at once on one worker. null: on a GPU as few as keep nearly full speed and leave
    the sampler scores to learn from, up to 16; on a CPU one."""
    tokens_per_pass: Annotated[Int, Field(ge=16, le=1_048_576)] | None = None
    """Largest number of tokens in one pass, of all trials together; a longer sequence raises it for its pass.
    null chooses by memory and device."""
    cache_base: bool | None = None
    """Keep a quantised base in the compute dtype too: the same numbers, no dequantisation in every pass, more
    memory; null does so where it fits."""
    optimizer_bits: Literal[32, 8] | None = None
    """Bits of each of AdamW's two moments: 32, or 8 in blockwise dynamic codes (Dettmers et al., 2022), which
    take a quarter of the memory and round each moment by up to 0.7% of the largest of its block of 256. null
    chooses."""
    offload_optimizer: bool | None = None
    """Keep AdamW's moments in host memory and bring them to the GPU for each update: the same numbers, less
    GPU memory, more time per update. null chooses."""
