"""A pass: concatenated sequences of several slots, as tensors of a few fixed sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.packing.dropout import token_keys
from loratory.objectives.packing.segments import Segments, Span
from loratory.objectives.packing.shapes import PassShape, Piece, round_up


@dataclass(frozen=True, kw_only=True)
class PassInputs:
    """A pass on its device. All tensors are views of one int32 buffer, so that one copy uploads the pass.

    Attributes:
        shape: the sizes of the tensors.
        buffer: int32, all tensors end to end.
        input_ids: int32 [1, T].
        position_ids: int32 [1, T], from 0 in each sequence.
        dropout_keys: int32 [T], see `dropout.token_keys`.
        segments: the slot of each token.
        ends: int32 [S + 1], cumulative lengths of the sequences.
        places: int32 [N], index of the token that predicts each target.
        targets: int32 [N].
        target_slots: int32 [N]; -1 for padding.
        weights: fp32 [N], weight of each target in the loss; 0 for padding.
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
        """Build the views of a buffer."""
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
    """A pass on the host, before its upload.

    Attributes:
        shape: the sizes of the tensors.
        buffer: int32, as in `PassInputs`.
        spans: the slots' tokens.
        useful_tokens: number of tokens without padding.
        starts: index of each piece's first token, in the order of the pieces.
        target_starts: index of each piece's first target.
    """

    shape: PassShape
    buffer: NDArray[np.int32]
    spans: tuple[Span, ...]
    useful_tokens: int
    starts: tuple[int, ...]
    target_starts: tuple[int, ...]

    @property
    def inputs(self) -> PassInputs:
        """The same pass as tensors on the CPU."""
        return PassInputs.over(torch.from_numpy(self.buffer), self.shape, self.spans)


def lay_out(pieces: Sequence[Piece], shape: PassShape) -> HostPass:
    """Concatenate sequences into a pass, those of each slot together.

    Args:
        pieces: the sequences, ordered by slot.
        shape: sizes that hold them.
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


def padding_pass(shape: PassShape, device: torch.device) -> PassInputs:
    """Return a pass of padding only; training on it changes no gradient."""
    buffer = torch.zeros(sum(shape.sizes.values()), dtype=torch.int32, device=device)
    inputs = PassInputs.over(buffer, shape, ())
    inputs.segments.block_slots.fill_(-1)
    inputs.target_slots.fill_(-1)
    ends = torch.arange(shape.sequences + 1, dtype=torch.int32, device=device) * shape.longest
    inputs.ends.copy_(ends.clamp_(max=shape.tokens))
    return inputs


def _write(part: dict[str, NDArray[np.int32]], piece: Piece, place: int, target: int) -> None:
    """Write a sequence into the tensors of a pass, from a token's and a target's index on."""
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
    places = range(piece.first, piece.first + count) if piece.places is None else piece.places
    part["places"][there] = place + np.array(places)
    part["targets"][there] = piece.targets
    part["target_slots"][there] = piece.slot
    part["weights"][there] = np.float32(piece.weight).view(np.int32)
