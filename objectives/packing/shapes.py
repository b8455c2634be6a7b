"""Sequences of a pass, and the few sizes that its tensors have: passes of one shape share a CUDA graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

SMALLEST_BUCKET = 256
"""Tokens of the smallest pass that becomes a graph."""


class DropoutSeed(NamedTuple):
    """Where an example stands in its trial; its dropout masks follow from this alone."""

    seed: int
    step: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One sequence of a pass.

    Attributes:
        slot: whose adapter reads it; -1 for the bare base.
        input_ids: its tokens.
        first: the place whose next token is the first target.
        targets: what follows that place and those after it.
        weight: of each target in the loss.
        dropout: None where nothing is dropped.
    """

    slot: int
    input_ids: Sequence[int]
    first: int
    targets: Sequence[int]
    weight: float = 0.0
    dropout: DropoutSeed | None = None


class PassShape(NamedTuple):
    """The sizes of a pass's tensors: passes of one shape share a CUDA graph.

    Attributes:
        tokens: T.
        sequences: S, padding counted too.
        longest: no sequence is longer.
        targets: N.
        slots: K.
        granule: tokens of a block.
        row: places that each sequence takes where all have equally many; 0 where they follow each other
            without a gap.
    """

    tokens: int
    sequences: int
    longest: int
    targets: int
    slots: int
    granule: int
    row: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of each part, in the order in which they stand in one buffer."""
        return {
            "input_ids": self.tokens,
            "position_ids": self.tokens,
            "dropout_keys": self.tokens,
            "block_slots": self.tokens // self.granule,
            "bounds": 2 * self.slots,
            "ends": self.sequences + 1,
            "places": self.targets,
            "targets": self.targets,
            "target_slots": self.targets,
            "weights": self.targets,
        }

    @property
    def smallest(self) -> "PassShape":
        """A small shape in which the same kernels run; of passes without gaps."""
        tokens = 8 * self.granule
        return self._replace(tokens=tokens, sequences=8, longest=tokens, targets=tokens)


def round_up(number: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-number // step) * step


def bucket(number: int, smallest: int) -> int:
    """The next of smallest x {1, 1.25, 1.5, 1.75} x 2^n: at most a quarter is padding, and sizes are few."""
    return next(size for size in _buckets(number, smallest) if size >= number)


def bucket_within(number: int, smallest: int) -> int:
    """The last of the sizes of `bucket` that a number holds; the smallest where it holds none."""
    return max(size for size in _buckets(number, smallest) if size <= max(number, smallest))


def _buckets(number: int, smallest: int) -> list[int]:
    """Sizes around a number."""
    size = smallest
    while size * 2 <= number:
        size *= 2
    return [size * quarter // 4 for quarter in (4, 5, 6, 7, 8)]


def _power(number: int, *, base: int, smallest: int) -> int:
    """The next of smallest x base^n."""
    size = smallest
    while size < number:
        size *= base
    return size


def exact_shape(pieces: Sequence[Piece], *, slots: int, granule: int) -> PassShape:
    """The smallest shape that holds some pieces, for eager passes."""
    tokens, sequences = _room(pieces, granule)
    return PassShape(
        tokens=tokens,
        sequences=sequences,
        # What fills up a granule is a sequence too.
        longest=max(granule, *(len(piece.input_ids) for piece in pieces)),
        targets=sum(len(piece.targets) for piece in pieces),
        slots=slots,
        granule=granule,
    )


def rows_shape(pieces: Sequence[Piece], *, slots: int, granule: int) -> PassShape:
    """The smallest shape in which every sequence is a row of its own, padded on the right to the longest."""
    longest = max(len(piece.input_ids) for piece in pieces)
    row = round_up(longest, granule)
    return PassShape(
        tokens=row * len(pieces),
        sequences=2 * len(pieces),
        longest=longest,
        targets=sum(len(piece.targets) for piece in pieces),
        slots=slots,
        granule=granule,
        row=row,
    )


def bucket_shape(pieces: Sequence[Piece], *, slots: int, granule: int) -> PassShape:
    """The smallest of a few shapes that holds some pieces, for passes in CUDA graphs."""
    exact = exact_shape(pieces, slots=slots, granule=granule)
    tokens = bucket(exact.tokens, SMALLEST_BUCKET)
    # Attention takes longer the longer its longest sequence is declared to be.
    longest = _power(exact.longest, base=2, smallest=128)
    # What is left over is padding, in sequences of the longest length.
    sequences = exact.sequences + -(-(tokens - exact.tokens) // longest)
    return PassShape(
        tokens=tokens,
        sequences=_power(sequences, base=4, smallest=64),
        longest=longest,
        targets=next(part for part in (tokens // 2, tokens * 3 // 4, tokens) if part >= exact.targets),
        slots=slots,
        granule=granule,
    )


def _room(pieces: Sequence[Piece], granule: int) -> tuple[int, int]:
    """Tokens with each slot's padding, and sequences with one of padding for each slot."""
    tokens, sequences = 0, 0
    for _, group in groupby(pieces, key=attrgetter("slot")):
        lengths = [len(piece.input_ids) for piece in group]
        tokens += round_up(sum(lengths), granule)
        sequences += len(lengths) + (sum(lengths) % granule > 0)
    return tokens, sequences
