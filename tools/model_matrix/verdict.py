"""The result of an architecture."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of an architecture.

    Attributes:
        name: of the architecture.
        result: `right`, `refused`, `wrong` or `not made`.
        training: `packed` or `one at a time`, where it is right.
        decoding: `cache`, or `generate` where transformers decodes, where it is right.
        detail: the refusal, the reason for a slower way, or the fault.
        seconds: that it took.
    """

    name: str
    result: str
    training: str = ""
    decoding: str = ""
    detail: str = ""
    seconds: float = 0.0
