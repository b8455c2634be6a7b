"""Prefill: passes over whole prompts, which fill the cache and give the first token of each answer."""

from collections.abc import Iterator, Sequence
from itertools import count

import torch

from loratory.objectives.packing.decoding.cache import KeyValueCache, PrefillLayout
from loratory.objectives.packing.decoding.rows import GRANULE, Chosen, Prompt
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import HostPass, PassInputs, lay_out
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import PassShape, Piece, bucket_shape, exact_shape, round_up
from loratory.objectives.packing.stack import AdapterStack

PREFILL_TOKENS = 8192
"""Most tokens of a pass over prompts, where memory allows."""

# Graphs write to the cache that they were captured with, so each cache needs its own name in the runner.
_serial = count()


class Prefill:
    """Runs passes over prompts.

    Attributes:
        most_tokens: most tokens of a pass; a longer prompt has one of its own.
    """

    def __init__(
        self,
        model: PackedModel,
        runner: PassRunner,
        stack: AdapterStack,
        cache: KeyValueCache,
        *,
        longest_prompt: int,
        most_tokens: int = PREFILL_TOKENS,
    ) -> None:
        """Set the sizes of passes.

        Args:
            model: the base.
            runner: runs the passes, where they can be captured.
            stack: the adapters.
            cache: where keys and values are stored.
            longest_prompt: upper bound on the tokens of a prompt.
            most_tokens: most tokens of a pass; a longer prompt has one of its own.
        """
        self._model, self._stack, self._cache = model, stack, cache
        # Without fused attention every pass has another shape, and graphs would not be used again.
        self._runner = runner if model.fused_attention else PassRunner(runner.device, graphs=False)
        self._least_tokens = round_up(longest_prompt, GRANULE)
        self.most_tokens = max(self._least_tokens, most_tokens)
        self._longest = max(128, 1 << (longest_prompt - 1).bit_length())
        self._name = f"prefill {next(_serial)}"
        self._places: dict[PassShape, torch.Tensor] = {}

    def run(self, chosen: Sequence[Chosen]) -> list[int]:
        """Run prompts through the model.

        Args:
            chosen: prompts and their places in the cache, each slot's together.

        Returns:
            The first new token of each prompt.
        """
        firsts = []
        for some in _passes(chosen, tokens=self.most_tokens):
            host = self._lay_out([one.prompt for one in some])
            self._write_places(host, some)
            # Copied, since the next pass of this shape overwrites the output.
            firsts.append(self._runner.run(self._name, host, self._work)[: len(some)].clone())
        return torch.cat(firsts).tolist()

    def shrink(self) -> bool:
        """Halve the most tokens of a pass, down to those of the longest prompt.

        Returns:
            False where it is at that limit already.
        """
        if self.most_tokens <= self._least_tokens:
            return False
        self.most_tokens = max(self._least_tokens, self.most_tokens // 2)
        return True

    def clear(self) -> None:
        """Drop the graphs of the runner and the tensors that they read."""
        self._runner.clear()
        self._places.clear()

    def _work(self, inputs: PassInputs) -> torch.Tensor:
        """Run a pass, and return the most likely next token of each target, int64 [N]."""
        layout = PrefillLayout(self._model.layout(inputs), self._cache, self._places_of(inputs.shape))
        with self._model.enter_pass(inputs, self._stack, attention=layout):
            return self._model.logits(inputs).argmax(dim=-1)

    def _lay_out(self, prompts: Sequence[Prompt]) -> HostPass:
        """Lay out prompts as a pass with one target per prompt."""
        pieces = [
            Piece(slot=prompt.slot, input_ids=prompt.ids, first=len(prompt.ids) - 1, targets=(0,))
            for prompt in prompts
        ]
        return lay_out(pieces, self._shape(pieces))

    def _shape(self, pieces: Sequence[Piece]) -> PassShape:
        slots = self._stack.slots
        if not self._runner.graphs:
            return exact_shape(pieces, slots=slots, granule=GRANULE)
        shape = bucket_shape(pieces, slots=slots, granule=GRANULE)
        # Each prompt has one target. Sizes that follow from the other sizes keep shapes few.
        return shape._replace(longest=self._longest, targets=min(shape.tokens, shape.sequences))

    def _places_of(self, shape: PassShape) -> torch.Tensor:
        """Return the tensor of places that passes of a shape read; at first all are the padding's place."""
        if shape not in self._places:
            self._places[shape] = self._padding_places(shape).to(self._runner.device)
        return self._places[shape]

    def _padding_places(self, shape: PassShape) -> torch.Tensor:
        """Return the padding's place for every token of a shape, int64 [T] on the CPU."""
        return torch.full((shape.tokens,), self._cache.padding_place)

    def _write_places(self, host: HostPass, some: Sequence[Chosen]) -> None:
        """Write the places of a pass's tokens into the tensor that passes of its shape read."""
        own = self._padding_places(host.shape)
        places = own.numpy()
        for one, start in zip(some, host.starts, strict=True):
            places[start : start + len(one.places)] = one.places
        if not self._runner.graphs:
            # Shapes hardly ever repeat, so earlier tensors are not kept.
            self._places = {host.shape: own.to(self._runner.device)}
        else:
            self._places_of(host.shape).copy_(own.pin_memory(), non_blocking=True)


def _passes(chosen: Sequence[Chosen], *, tokens: int) -> Iterator[list[Chosen]]:
    """Split prompts, in their order, into passes of at most `tokens` tokens."""
    some: list[Chosen] = []
    taken = 0
    for one in chosen:
        # Each prompt is counted with padding, as if it were the last of its slot.
        needed = round_up(len(one.prompt.ids), GRANULE)
        if some and taken + needed > tokens:
            yield some
            some, taken = [], 0
        some.append(one)
        taken += needed
    if some:
        yield some
