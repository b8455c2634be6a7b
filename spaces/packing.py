"""How many trials train together on one worker, and how much of each in one pass."""

from typing import Annotated

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


class PackingSpec(Frozen):
    """The pack of a worker: trials that train at once on one base. It changes speed and memory only."""

    slots: Annotated[Int, Field(ge=1, le=256)] | None = None
    """Trials that train at once on one worker; null chooses by its memory and device."""
    tokens_per_slot: Annotated[Int, Field(ge=16)] | None = None
    """Tokens of one trial in one pass: examples of a batch are joined up to it, and an example that is longer
    raises it for that pass; null chooses by memory and device."""
