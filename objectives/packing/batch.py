"""One optimiser batch of one trial, cut into as many passes as it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.pass_budget import share_out
from loratory.objectives.packing.passes import HostPass
from loratory.objectives.packing.shapes import DropoutSeed, Piece


class OptimizerBatch:
    """The examples of one update. Its loss is the mean over all their learned tokens, however they are cut.

    Attributes:
        examples: all examples of the update.
    """

    def __init__(self, examples: Sequence[Example], *, seed: int, step: int, dropout: bool) -> None:
        """Start with every example remaining.

        Args:
            examples: in the order of the trial's plan.
            seed: of the trial.
            step: optimiser step, from 0.
            dropout: whether the trial uses dropout.
        """
        self.examples = examples
        self._seed, self._step, self._dropout = seed, step, dropout
        self._remaining = list(range(len(examples)))

    @property
    def lengths(self) -> list[int]:
        """Tokens that a pass needs for each remaining example; the last token is only ever a target."""
        return [len(self.examples[position]) - 1 for position in self._remaining]

    @property
    def done(self) -> bool:
        """True if no example remains."""
        return not self._remaining

    @property
    def target_tokens(self) -> int:
        """Number of tokens that the loss is the mean of."""
        return sum(len(e.answer_ids) if e.learned is None else sum(e.learned) for e in self.examples)

    @property
    def tokens(self) -> int:
        """Number of tokens, prompts included."""
        return sum(map(len, self.examples))

    def take(self, chosen: Sequence[int], *, slot: int, loss_scale: float) -> list[Piece]:
        """Return the sequences of some remaining examples, which then remain no more.

        Args:
            chosen: indices into `lengths`.
            slot: the trial's.
            loss_scale: factor of the loss (fp16); 1 elsewhere.
        """
        positions = [self._remaining[index] for index in chosen]
        self._remaining = [position for position in self._remaining if position not in set(positions)]
        weight = loss_scale / self.target_tokens
        return [
            training_piece(
                self.examples[position],
                slot=slot,
                weight=weight,
                dropout=DropoutSeed(self._seed, self._step, position) if self._dropout else None,
            )
            for position in positions
        ]

    def rewind(self) -> None:
        """Let every example remain again, after the gradients of earlier passes were lost."""
        self._remaining = list(range(len(self.examples)))


def example_piece(
    example: Example, *, slot: int, weight: float = 0.0, dropout: DropoutSeed | None = None
) -> Piece:
    """Return the sequence of an example, with its answer tokens as targets."""
    return Piece(
        slot=slot,
        input_ids=(*example.prompt_ids, *example.answer_ids[:-1]),
        first=len(example.prompt_ids) - 1,
        targets=example.answer_ids,
        weight=weight,
        dropout=dropout,
    )


def training_piece(
    example: Example, *, slot: int, weight: float = 0.0, dropout: DropoutSeed | None = None
) -> Piece:
    """Return the sequence of an example, with its learned tokens as targets."""
    piece = example_piece(example, slot=slot, weight=weight, dropout=dropout)
    if example.learned is None:
        return piece
    ids = (*example.prompt_ids, *example.answer_ids)
    learned = [place for place, on in enumerate(example.learned) if on]
    return replace(
        piece,
        first=learned[0] - 1,
        targets=[ids[place] for place in learned],
        places=[place - 1 for place in learned],
    )


def train_pass(pack: Pack, batches: Mapping[int, OptimizerBatch], *, tokens: int) -> HostPass:
    """Train one pass over sequences of some slots' batches. A batch that is done then needs its update.

    Args:
        pack: the pack of these slots.
        batches: by slot, none of them done; the first slot contributes in any case.
        tokens: the most that the pass may have, padding of slots or rows included.
    """
    lengths = {slot: batch.lengths for slot, batch in batches.items()}
    shares = share_out(lengths, pack.pass_budget(tokens))
    pieces = [
        piece
        for slot in sorted(shares)
        for piece in batches[slot].take(shares[slot], slot=slot, loss_scale=pack.optimizer(slot).loss_scale)
    ]
    return pack.train(pieces)
