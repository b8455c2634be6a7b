"""Decoding for bases that our cache does not serve: transformers' `generate`, one adapter after another."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import torch

from loratory.objectives.packing.context import CurrentPass
from loratory.objectives.packing.decoding.rows import BASE, Answer, Prompt, until_end
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.segments import Segments
from loratory.objectives.packing.stack import AdapterStack


class Generation(Enum):
    """A way to call `generate`. Each is slower than the one before, and right for more bases."""

    PADDED = "several prompts at once, padded on the left"
    ONE_LENGTH = "prompts of one length at once, without padding"
    WITHOUT_CACHE = "prompts of one length at once, all tokens computed again for each new one"


class ApartDecoder:
    """Answers prompts like `decoder.Decoder`, but in each call those of one slot only."""

    def __init__(
        self,
        model: PackedModel,
        stack: AdapterStack,
        *,
        end_ids: Iterable[int],
        padding_id: int,
        max_new_tokens: int,
        rows: int,
        generation: Generation = Generation.PADDED,
    ) -> None:
        """Start without prompts.

        Args:
            model: the base; its own attention runs here.
            stack: the adapters.
            end_ids: every token that ends an answer.
            padding_id: the token that pads prompts on the left.
            max_new_tokens: longest answer.
            rows: prompts decoded at once, at least one.
            generation: how `generate` is called.
        """
        if rows < 1:
            raise ValueError(f"rows: must be at least 1, got {rows}")
        self._model, self._stack, self._generation = model, stack, generation
        self._ends, self._padding = frozenset(end_ids), padding_id
        self._max_new_tokens, self._rows = max_new_tokens, rows
        self._waiting: deque[Prompt] = deque()

    @property
    def busy(self) -> bool:
        """True while any prompt has no answer."""
        return bool(self._waiting)

    @property
    def limit(self) -> int:
        """Most prompts that are decoded at once."""
        return self._rows

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Append prompts to the queue, the longest first."""
        self._waiting += sorted(prompts, key=lambda prompt: -len(prompt.ids))

    def drop(self, slot: int) -> None:
        """Remove a slot's prompts."""
        self._waiting = deque(prompt for prompt in self._waiting if prompt.slot != slot)

    def clear(self) -> None:
        """Do nothing: there are no graphs to drop."""

    def shrink(self) -> bool:
        """Halve the prompts answered at once, after memory ran out; return False where it is one already."""
        if self._rows <= 1:
            return False
        self._rows //= 2
        return True

    def reduce_cache(self) -> bool:
        """Return False: between calls of `generate` there is no cache."""
        return False

    @torch.no_grad()
    def advance(self) -> list[Answer]:
        """Answer the next prompts, all of one slot; where this raises, they stay in the queue."""
        slot = self._waiting[0].slot
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < self._rows and self._joins(self._waiting[0], batch[0]):
            batch.append(self._waiting.popleft())
        try:
            return self._answer(slot, batch)
        except Exception:
            self._waiting.extendleft(reversed(batch))
            raise

    def _joins(self, prompt: Prompt, first: Prompt) -> bool:
        """Return whether a prompt may be answered together with another."""
        padded = self._generation is Generation.PADDED
        return prompt.slot == first.slot and (padded or len(prompt.ids) == len(first.ids))

    def _answer(self, slot: int, batch: list[Prompt]) -> list[Answer]:
        """Generate the answers of some prompts of a slot."""
        longest = max(len(prompt.ids) for prompt in batch)
        gaps = [longest - len(prompt.ids) for prompt in batch]
        rows = [[self._padding] * gap + [*p.ids] for gap, p in zip(gaps, batch, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        uncached: dict[str, Any] = {"use_cache": False}
        with self._model.own_attention(), _without_checkpoints(self._model.model), self._adapter(slot):
            output = self._model.model.generate(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(mask, device=self._model.device),
                max_new_tokens=self._max_new_tokens,
                **(uncached if self._generation is Generation.WITHOUT_CACHE else {}),
            )
        return [
            Answer(slot=slot, key=prompt.key, ids=until_end(ids, self._ends))
            for prompt, ids in zip(batch, output[:, longest:].tolist(), strict=True)
        ]

    def _adapter(self, slot: int) -> contextlib.AbstractContextManager[object]:
        """Let the layers apply the adapter of a slot to all tokens inside a `with` block."""
        if slot == BASE:
            return contextlib.nullcontext()
        return self._model.context.enter(CurrentPass(stack=self._stack, segments=Segments.whole(slot)))


@contextlib.contextmanager
def _without_checkpoints(model: Any) -> Iterator[None]:
    """Put all layers into eval mode: those that checkpoint activations in training mode use no cache."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
