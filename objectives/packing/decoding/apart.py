"""Answers where sequences cannot be packed: transformers' own `generate`, one adapter after another."""

from collections import deque
from collections.abc import Iterable

import torch

from loratory.objectives.packing.context import Segments
from loratory.objectives.packing.decoding.rows import BASE, Answer, Prompt, until_end
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.stack import AdapterStack


class ApartDecoder:
    """Does what `decoding.Decoder` does, with rows of one adapter at a time."""

    def __init__(
        self,
        model: PackedModel,
        stack: AdapterStack,
        *,
        end_ids: Iterable[int],
        padding_id: int,
        max_new_tokens: int,
        rows: int,
    ) -> None:
        """Nothing waits yet.

        Args:
            model: the base, with its own attention.
            stack: the adapters.
            end_ids: every token that ends an answer.
            padding_id: fills prompts on the left.
            max_new_tokens: longest answer.
            rows: prompts decoded at once.
        """
        self._model, self._stack = model, stack
        self._ends, self._padding = frozenset(end_ids), padding_id
        self._max_new_tokens, self._rows = max_new_tokens, rows
        self._waiting: deque[Prompt] = deque()

    @property
    def busy(self) -> bool:
        """Whether any prompt has no answer yet."""
        return bool(self._waiting)

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Let prompts wait for their answers, longest first."""
        self._waiting += sorted(prompts, key=lambda prompt: -len(prompt.ids))

    def drop(self, slot: int) -> None:
        """Forget a slot's prompts."""
        self._waiting = deque(prompt for prompt in self._waiting if prompt.slot != slot)

    def clear(self) -> None:
        """Nothing is kept between batches."""

    def shrink(self) -> bool:
        """Answer half as many prompts at once, where memory ran out; False where it is one already."""
        if self._rows == 1:
            return False
        self._rows //= 2
        return True

    @torch.no_grad()
    def advance(self) -> list[Answer]:
        """Answer some prompts of one slot."""
        slot = self._waiting[0].slot
        batch: list[Prompt] = []
        while self._waiting and self._waiting[0].slot == slot and len(batch) < self._rows:
            batch.append(self._waiting.popleft())
        try:
            return self._answer(slot, batch)
        except Exception:
            self._waiting.extendleft(reversed(batch))
            raise

    def _answer(self, slot: int, batch: list[Prompt]) -> list[Answer]:
        longest = max(len(prompt.ids) for prompt in batch)
        gaps = [longest - len(prompt.ids) for prompt in batch]
        rows = [[self._padding] * gap + [*p.ids] for gap, p in zip(gaps, batch, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        context, device = self._model.context, self._model.device
        if slot != BASE:
            context.stack, context.segments = self._stack, Segments.whole(slot)
        try:
            output = self._model.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=self._max_new_tokens,
            )
        finally:
            context.stack = context.segments = context.shared = None
        return [
            Answer(slot=slot, key=prompt.key, ids=until_end(ids, self._ends))
            for prompt, ids in zip(batch, output[:, longest:].tolist(), strict=True)
        ]
