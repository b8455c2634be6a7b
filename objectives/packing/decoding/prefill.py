"""Reads whole prompts: keys and values go into the cache, and each gives the first token of its answer."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch

from loratory.objectives.packing.decoding.cache import KeyValueCache, PrefillLayout
from loratory.objectives.packing.decoding.rows import GRANULE, Prompt
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import HostPass, PassInputs, lay_out
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import PassShape, Piece, bucket_shape, exact_shape, round_up
from loratory.objectives.packing.stack import AdapterStack

_MOST_TOKENS = 8192  # of a pass

# Graphs write to the cache that they were captured with: each cache has a name of its own.
_serial = count()

Chosen = tuple[int, Prompt]
"""A row and its prompt."""


class Prefill:
    """Passes over prompts."""

    def __init__(
        self,
        model: PackedModel,
        runner: PassRunner,
        stack: AdapterStack,
        cache: KeyValueCache,
        *,
        longest_prompt: int,
    ) -> None:
        """Nothing is read yet.

        Args:
            model: the base.
            runner: of its passes.
            stack: the adapters.
            cache: what is written to.
            longest_prompt: no prompt is longer.
        """
        self._model, self._stack, self._cache = model, stack, cache
        # Where attention is no single kernel, every pass has a shape of its own: nothing to capture.
        self._runner = runner if model.fused_attention else PassRunner(runner.device, graphs=False)
        self._least_tokens = round_up(longest_prompt, GRANULE)
        self._most_tokens = _MOST_TOKENS
        self._longest = max(128, 1 << (longest_prompt - 1).bit_length())
        self._name = f"prefill {next(_serial)}"
        self._places: dict[PassShape, torch.Tensor] = {}

    def run(self, chosen: Sequence[Chosen]) -> list[int]:
        """Read prompts.

        Args:
            chosen: rows and their prompts, each slot's together.

        Returns:
            The first new token of each.
        """
        firsts = []
        for some in _passes(chosen, tokens=self._most_tokens):
            host = self._lay_out([prompt for _, prompt in some])
            self._write_places(host, some)
            # The next pass of this shape overwrites the output.
            firsts.append(self._runner.run(self._name, host, self._work)[: len(some)].clone())
        return torch.cat(firsts).tolist()

    def shrink(self) -> bool:
        """Halve the tokens of a pass; the longest prompt still has its turn.

        Returns:
            False where a pass has no more tokens than that.
        """
        if self._most_tokens <= self._least_tokens:
            return False
        self._most_tokens = max(self._least_tokens, self._most_tokens // 2)
        return True

    def clear(self) -> None:
        """Forget the graphs of the runner, and with them what they read."""
        self._runner.clear()
        self._places.clear()

    def _work(self, inputs: PassInputs) -> torch.Tensor:
        layout = PrefillLayout(self._model.layout(inputs), self._cache, self._places_of(inputs.shape))
        with self._model.reading(inputs, self._stack, attention=layout):
            return self._model.logits(inputs).argmax(dim=-1)

    def _lay_out(self, prompts: Sequence[Prompt]) -> HostPass:
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
        # A prompt has one target; sizes that follow from others make no more shapes.
        return shape._replace(longest=self._longest, targets=min(shape.tokens, shape.sequences))

    def _places_of(self, shape: PassShape) -> torch.Tensor:
        """The tensor that passes of a shape read; until it is written to, their tokens go nowhere."""
        if shape not in self._places:
            self._places[shape] = self._nowhere(shape).to(self._runner.device)
        return self._places[shape]

    def _nowhere(self, shape: PassShape) -> torch.Tensor:
        return torch.full((shape.tokens,), self._cache.dump)

    def _write_places(self, host: HostPass, some: Sequence[Chosen]) -> None:
        """Where the tokens of a pass go in the cache, into the tensor that passes of its shape read."""
        own = self._nowhere(host.shape)
        places = own.numpy()
        for (row, prompt), start in zip(some, host.starts, strict=True):
            first = row * self._cache.positions
            places[start : start + len(prompt.ids)] = np.arange(first, first + len(prompt.ids))
        if not self._runner.graphs:
            # Shapes hardly ever repeat: nothing is kept.
            self._places = {host.shape: own.to(self._runner.device)}
        else:
            self._places_of(host.shape).copy_(own.pin_memory(), non_blocking=True)


def _passes(chosen: Sequence[Chosen], *, tokens: int) -> Iterator[list[Chosen]]:
    """Prompts in their order, in passes of no more than so many tokens."""
    some: list[Chosen] = []
    taken = 0
    for row, prompt in chosen:
        # Every prompt counted as if it were the last of its slot.
        needed = round_up(len(prompt.ids), GRANULE)
        if some and taken + needed > tokens:
            yield some
            some, taken = [], 0
        some.append((row, prompt))
        taken += needed
    if some:
        yield some
