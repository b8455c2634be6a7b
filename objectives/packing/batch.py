"""One optimiser batch of one trial, on its way through as many passes as it takes."""

from collections.abc import Mapping, Sequence

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.arrangement import share_out
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.passes import HostPass
from loratory.objectives.packing.shapes import DropoutSeed, Piece


class Batch:
    """The examples of one update; the loss is the mean over all their answer tokens, however it is cut.

    Attributes:
        examples: all of them.
    """

    def __init__(self, examples: Sequence[Example], *, seed: int, step: int, dropout: bool) -> None:
        """Nothing has passed yet.

        Args:
            examples: in the order of the trial's plan.
            seed: the trial's.
            step: optimiser step, from 0.
            dropout: whether the trial drops anything.
        """
        self.examples = examples
        self._seed, self._step, self._dropout = seed, step, dropout
        self._left = list(range(len(examples)))

    @property
    def lengths(self) -> list[int]:
        """Tokens that a pass needs for each example that is left: its last one is only ever a target."""
        return [len(self.examples[position]) - 1 for position in self._left]

    @property
    def done(self) -> bool:
        """Whether all examples have passed."""
        return not self._left

    @property
    def answer_tokens(self) -> int:
        """Tokens that the loss is the mean of."""
        return sum(len(example.answer_ids) for example in self.examples)

    @property
    def tokens(self) -> int:
        """Tokens in all, prompts included."""
        return sum(map(len, self.examples))

    def take(self, chosen: Sequence[int], *, slot: int, loss_scale: float) -> list[Piece]:
        """Sequences of the examples at some places of `lengths`, which are left no more."""
        positions = [self._left[index] for index in chosen]
        self._left = [position for position in self._left if position not in set(positions)]
        weight = loss_scale / self.answer_tokens
        return [
            example_piece(
                self.examples[position],
                slot=slot,
                weight=weight,
                dropout=DropoutSeed(self._seed, self._step, position) if self._dropout else None,
            )
            for position in positions
        ]

    def rewind(self) -> None:
        """Begin again, where what has passed was lost."""
        self._left = list(range(len(self.examples)))


def example_piece(
    example: Example, *, slot: int, weight: float = 0.0, dropout: DropoutSeed | None = None
) -> Piece:
    """The sequence of an example: its answer tokens are the targets."""
    return Piece(
        slot=slot,
        input_ids=(*example.prompt_ids, *example.answer_ids[:-1]),
        first=len(example.prompt_ids) - 1,
        targets=example.answer_ids,
        weight=weight,
        dropout=dropout,
    )


def train_pass(pack: Pack, batches: Mapping[int, Batch], *, tokens: int) -> HostPass:
    """Take one pass further in the batches of some slots; those that are done then want their update.

    Args:
        pack: where the slots are.
        batches: by slot, none of them done; the first slot gets something in any case.
        tokens: of the pass, padding of slots or rows counted too.
    """
    lengths = {slot: batch.lengths for slot, batch in batches.items()}
    shares = share_out(lengths, pack.room(tokens))
    pieces = [
        piece
        for slot in sorted(shares)
        for piece in batches[slot].take(shares[slot], slot=slot, loss_scale=pack.optimizer(slot).loss_scale)
    ]
    return pack.train(pieces)
