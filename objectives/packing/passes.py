"""A pass: sequences of several slots, one after the other, as tensors of a few fixed sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.packing.context import Segments, Span
from loratory.objectives.packing.dropout import token_keys

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


@dataclass(frozen=True, kw_only=True)
class PassInputs:
    """A pass on its device. All parts are views of one int32 buffer, so that one copy brings a whole pass.

    Attributes:
        shape: the sizes.
        buffer: int32, all parts.
        input_ids: int32 [1, T].
        position_ids: int32 [1, T], from 0 in each sequence.
        dropout_keys: int32 [T].
        segments: whose tokens are where.
        ends: int32 [S + 1], where sequences begin and end.
        places: int32 [N], the token that predicts each target.
        targets: int32 [N].
        target_slots: int32 [N]; -1 where there is no target.
        weights: fp32 [N], of each target in the loss; zero where there is none.
    """

    shape: PassShape
    buffer: torch.Tensor
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    dropout_keys: torch.Tensor
    segments: Segments
    ends: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    target_slots: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def over(cls, buffer: torch.Tensor, shape: PassShape, spans: tuple[Span, ...]) -> Self:
        """The parts of a buffer."""
        sizes = shape.sizes
        part = dict(zip(sizes, torch.split(buffer, list(sizes.values())), strict=True))
        segments = Segments(
            granule=shape.granule,
            spans=spans,
            block_slots=part["block_slots"],
            bounds=part["bounds"].view(shape.slots, 2),
        )
        return cls(
            shape=shape,
            buffer=buffer,
            input_ids=part["input_ids"].unsqueeze(0),
            position_ids=part["position_ids"].unsqueeze(0),
            dropout_keys=part["dropout_keys"],
            segments=segments,
            ends=part["ends"],
            places=part["places"],
            targets=part["targets"],
            target_slots=part["target_slots"],
            weights=part["weights"].view(torch.float32),
        )


@dataclass(frozen=True, kw_only=True)
class HostPass:
    """A pass before it goes to its device.

    Attributes:
        shape: the sizes.
        buffer: int32, as in `PassInputs`.
        spans: the slots' tokens.
        useful_tokens: tokens that are no padding.
        starts: where each piece begins among the tokens, in the pieces' order.
        target_starts: where its targets begin among the targets.
    """

    shape: PassShape
    buffer: NDArray[np.int32]
    spans: tuple[Span, ...]
    useful_tokens: int
    starts: tuple[int, ...]
    target_starts: tuple[int, ...]

    @property
    def inputs(self) -> PassInputs:
        """The pass on the CPU."""
        return PassInputs.over(torch.from_numpy(self.buffer), self.shape, self.spans)


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
        targets=tokens if 2 * exact.targets > tokens else tokens // 2,
        slots=slots,
        granule=granule,
    )


def lay_out(pieces: Sequence[Piece], shape: PassShape) -> HostPass:
    """Put the pieces into a pass, each slot's together.

    Args:
        pieces: ordered by slot.
        shape: large enough for them.
    """
    buffer = np.zeros(sum(shape.sizes.values()), dtype=np.int32)
    limits = np.cumsum(list(shape.sizes.values()))[:-1]
    part = dict(zip(shape.sizes, np.split(buffer, limits), strict=True))
    part["block_slots"].fill(-1)
    part["target_slots"].fill(-1)
    ends, spans, starts, target_starts = [0], [], [], []
    place, target = 0, 0
    for slot, group in groupby(pieces, key=attrgetter("slot")):
        first = place
        for piece in group:
            starts.append(place)
            target_starts.append(target)
            _write(part, piece, place, target)
            ends.append(place + len(piece.input_ids))
            place, target = place + (shape.row or len(piece.input_ids)), target + len(piece.targets)
            if place > ends[-1]:
                ends.append(place)
        place = round_up(place, shape.granule)
        if place > ends[-1]:
            ends.append(place)
        if slot >= 0:
            spans.append(Span(slot, first, place))
            part["block_slots"][first // shape.granule : place // shape.granule] = slot
            part["bounds"][2 * slot : 2 * slot + 2] = first, place
    if place < shape.tokens:
        ends += [*range(place + shape.longest, shape.tokens, shape.longest), shape.tokens]
    part["ends"][: len(ends)] = ends
    part["ends"][len(ends) :] = shape.tokens
    return HostPass(
        shape=shape,
        buffer=buffer,
        spans=tuple(spans),
        useful_tokens=sum(len(piece.input_ids) for piece in pieces),
        starts=tuple(starts),
        target_starts=tuple(target_starts),
    )


def nobodys_pass(shape: PassShape, device: torch.device) -> PassInputs:
    """A pass of padding: work on it changes nothing."""
    buffer = torch.zeros(sum(shape.sizes.values()), dtype=torch.int32, device=device)
    inputs = PassInputs.over(buffer, shape, ())
    inputs.segments.block_slots.fill_(-1)
    inputs.target_slots.fill_(-1)
    ends = torch.arange(shape.sequences + 1, dtype=torch.int32, device=device) * shape.longest
    inputs.ends.copy_(ends.clamp_(max=shape.tokens))
    return inputs


def _write(part: dict[str, NDArray[np.int32]], piece: Piece, place: int, target: int) -> None:
    tokens, count = len(piece.input_ids), len(piece.targets)
    here, there = slice(place, place + tokens), slice(target, target + count)
    part["input_ids"][here] = piece.input_ids
    part["position_ids"][here] = np.arange(tokens)
    if piece.dropout is not None:
        part["dropout_keys"][here] = token_keys(
            seed=piece.dropout.seed,
            step=piece.dropout.step,
            position=piece.dropout.position,
            tokens=tokens,
        )
    part["places"][there] = np.arange(place + piece.first, place + piece.first + count)
    part["targets"][there] = piece.targets
    part["target_slots"][there] = piece.slot
    part["weights"][there] = np.float32(piece.weight).view(np.int32)


def _room(pieces: Sequence[Piece], granule: int) -> tuple[int, int]:
    """Tokens with each slot's padding, and sequences with one of padding for each slot."""
    tokens, sequences = 0, 0
    for _, group in groupby(pieces, key=attrgetter("slot")):
        lengths = [len(piece.input_ids) for piece in group]
        tokens += round_up(sum(lengths), granule)
        sequences += len(lengths) + (sum(lengths) % granule > 0)
    return tokens, sequences
