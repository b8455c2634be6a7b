"""The sequences of a pass, and the sizes of its tensors; passes of one shape share a CUDA graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import torch

SMALLEST_BUCKET = 256
"""Tokens of the smallest pass that is captured."""


class DropoutSeed(NamedTuple):
    """Identifies an example within its trial; its dropout masks follow from this alone."""

    seed: int
    step: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One sequence of a pass.

    Attributes:
        slot: the slot of its adapter; -1 for the bare base.
        input_ids: its tokens.
        first: index of the token that predicts the first target.
        targets: the tokens that are predicted, in their order.
        places: index of the token that predicts each target; None: `first` and those after it, without a gap.
        weight: weight of each target in the loss.
        dropout: the seed of its dropout masks; None where nothing is dropped.
    """

    slot: int
    input_ids: Sequence[int]
    first: int
    targets: Sequence[int]
    places: Sequence[int] | None = None
    weight: float = 0.0
    dropout: DropoutSeed | None = None


class PassShape(NamedTuple):
    """The sizes of a pass's tensors.

    Attributes:
        tokens: T.
        sequences: S, padding included.
        longest: upper bound on the tokens of a sequence.
        targets: N.
        slots: K.
        granule: tokens per block.
        row: tokens per row where each sequence is a padded row of its own; 0 where they are concatenated.
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
        """Number of elements of each tensor, in their order in the buffer."""
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
        """A small shape that runs the same kernels; only for concatenated sequences."""
        tokens = 8 * self.granule
        return self._replace(tokens=tokens, sequences=8, longest=tokens, targets=tokens)


def granule_on(device: torch.device) -> int:
    """Return the tokens per block of a pass, each with one adapter."""
    # GPU kernels need more rows; on a CPU padding costs time.
    return 32 if device.type == "cuda" else 8


def round_up(number: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `number`."""
    return -(-number // step) * step


def bucket(number: int, smallest: int) -> int:
    """Return the next of smallest x {1, 1.25, 1.5, 1.75} x 2^n, so that at most a quarter is padding."""
    return next(size for size in _buckets(number, smallest) if size >= number)


def bucket_within(number: int, smallest: int) -> int:
    """Return the largest size of `bucket` that is at most `number`, or else `smallest`."""
    return max(size for size in _buckets(number, smallest) if size <= max(number, smallest))


def _buckets(number: int, smallest: int) -> list[int]:
    """Return the sizes of `bucket` around a number."""
    size = smallest
    while size * 2 <= number:
        size *= 2
    return [size * quarter // 4 for quarter in (4, 5, 6, 7, 8)]


def _power(number: int, *, base: int, smallest: int) -> int:
    """Return the next of smallest x base^n."""
    size = smallest
    while size < number:
        size *= base
    return size


def exact_shape(pieces: Sequence[Piece], *, slots: int, granule: int) -> PassShape:
    """Return the smallest shape that holds some sequences, for eager passes."""
    tokens, sequences = _padded_sizes(pieces, granule)
    return PassShape(
        tokens=tokens,
        sequences=sequences,
        # The padding that completes a block is a sequence too.
        longest=max(granule, *(len(piece.input_ids) for piece in pieces)),
        targets=sum(len(piece.targets) for piece in pieces),
        slots=slots,
        granule=granule,
    )


def rows_shape(pieces: Sequence[Piece], *, slots: int, granule: int) -> PassShape:
    """Return the smallest shape in which every sequence is a row of its own, padded on the right."""
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
    """Return the smallest of a few shapes that holds some sequences, for passes in CUDA graphs."""
    exact = exact_shape(pieces, slots=slots, granule=granule)
    tokens = bucket(exact.tokens, SMALLEST_BUCKET)
    # Attention is slower the larger the declared upper bound on lengths is.
    longest = _power(exact.longest, base=2, smallest=128)
    # The remaining tokens are padding, in sequences of the longest length.
    sequences = exact.sequences + -(-(tokens - exact.tokens) // longest)
    return PassShape(
        tokens=tokens,
        sequences=_power(sequences, base=4, smallest=64),
        longest=longest,
        targets=next(part for part in (tokens // 2, tokens * 3 // 4, tokens) if part >= exact.targets),
        slots=slots,
        granule=granule,
    )


def _padded_sizes(pieces: Sequence[Piece], granule: int) -> tuple[int, int]:
    """Return the numbers of tokens and sequences, with the padding of each slot counted as one sequence."""
    tokens, sequences = 0, 0
    for _, group in groupby(pieces, key=attrgetter("slot")):
        lengths = [len(piece.input_ids) for piece in group]
        tokens += round_up(sum(lengths), granule)
        sequences += len(lengths) + (sum(lengths) % granule > 0)
    return tokens, sequences
