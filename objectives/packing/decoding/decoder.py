"""Greedy decoding for many adapters at once: each step decodes one token in every row, whatever its slot."""

from collections.abc import Iterable

import torch

from loratory.objectives.packing.decoding.cache import KeyValueCache, rows_that_fit
from loratory.objectives.packing.decoding.pages import pages_for
from loratory.objectives.packing.decoding.prefill import PREFILL_TOKENS, Prefill
from loratory.objectives.packing.decoding.rows import BASE, GRANULE, Answer, DecodingRows, Prompt
from loratory.objectives.packing.decoding.steps import STEPS, DecodeSteps
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.out_of_memory import NothingLeftError, is_out_of_memory
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import round_up
from loratory.objectives.packing.stack import AdapterStack

__all__ = ["BASE", "Answer", "Decoder", "Prompt", "cache_positions", "rows_that_fit"]

_REFILL_SHARE = 8  # rows are refilled when at least 1 / 8 of those that run can be added


def cache_positions(*, longest_prompt: int, max_new_tokens: int) -> int:
    """Return the positions per row of the cache."""
    return round_up(longest_prompt + max_new_tokens, 64)


class Decoder:
    """Answers prompts of any slots, a few steps per call (continuous batching; Yu et al., "Orca", 2022).

    The adapters are read from the stack: a slot's adapter must not change while the slot has prompts here.

    Attributes:
        cached_rows: rows that the cache was sized for; maybe more than are used since `shrink`.
        pages: of the cache.
    """

    def __init__(
        self,
        model: PackedModel,
        runner: PassRunner,
        stack: AdapterStack,
        *,
        end_ids: Iterable[int],
        padding_id: int,
        max_new_tokens: int,
        longest_prompt: int,
        rows: int,
        pages: int | None = None,
        prefill_tokens: int = PREFILL_TOKENS,
    ) -> None:
        """Allocate the cache.

        Args:
            model: the base.
            runner: runs the passes over prompts.
            stack: the adapters.
            end_ids: every token that ends an answer.
            padding_id: the token of rows without a prompt.
            max_new_tokens: longest answer, at least one token.
            longest_prompt: upper bound on the tokens of a prompt.
            rows: most prompts decoded at once: 1 to 16, or a multiple of 16.
            pages: of the cache, at least those of the longest row; None: enough for the longest in every row.
            prefill_tokens: most tokens of a pass over prompts.
        """
        self._model, self._runner, self._stack = model, runner, stack
        self._ends, self._new_tokens = tuple(end_ids), max_new_tokens
        self._longest_prompt, self._slots = longest_prompt, stack.slots
        self._answers: list[Answer] = []
        self._positions = cache_positions(longest_prompt=longest_prompt, max_new_tokens=max_new_tokens)
        pages = rows * self._row_pages if pages is None else pages
        self._rows = DecodingRows(
            rows,
            pages=pages,
            positions=self._positions,
            end_ids=self._ends,
            padding_id=padding_id,
            max_new_tokens=max_new_tokens,
        )
        self._allocate(rows, pages, prefill_tokens)

    @property
    def _row_pages(self) -> int:
        return pages_for(self._positions)

    def _allocate(self, rows: int, pages: int, prefill_tokens: int) -> None:
        """Allocate the cache and what runs on it."""
        cache = KeyValueCache(
            self._model.model.config,
            pages=pages,
            device=self._model.device,
            dtype=self._model.compute_dtype,
        )
        self._prefill = Prefill(
            self._model,
            self._runner,
            self._stack,
            cache,
            longest_prompt=self._longest_prompt,
            most_tokens=prefill_tokens,
        )
        last = self._longest_prompt + self._new_tokens - 1
        self._steps = DecodeSteps(
            self._model,
            self._stack,
            cache,
            rows=rows,
            positions=self._positions,
            end_ids=self._ends,
            last=last,
            graphs=self._runner.graphs,
        )
        self.cached_rows, self.pages = rows, pages

    @property
    def busy(self) -> bool:
        """True while any prompt has no answer, or one that `advance` has not returned."""
        return bool(self._answers or self._rows.waiting or self._rows.running)

    @property
    def limit(self) -> int:
        """Most prompts that are decoded at once."""
        return self._rows.limit

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Append prompts to the queue.

        Raises:
            ValueError: a prompt is empty or too long, or its slot is not in the stack.
        """
        given = list(prompts)
        for prompt in given:
            if not 1 <= len(prompt.ids) <= self._longest_prompt:
                limit = self._longest_prompt
                raise ValueError(f"prompt {prompt.key}: must have 1 to {limit} tokens, got {len(prompt.ids)}")
            if not BASE <= prompt.slot < self._slots:
                raise ValueError(
                    f"prompt {prompt.key}: must be of a slot below {self._slots}, got {prompt.slot}"
                )
        self._rows.add(given)

    def drop(self, slot: int) -> None:
        """Remove a slot's prompts, waiting or in rows, and its answers: its trial was stopped."""
        self._rows.drop(slot)
        self._answers = [answer for answer in self._answers if answer.slot != slot]

    @torch.no_grad()
    def advance(self) -> list[Answer]:
        """Assign free rows to waiting prompts, then decode a few steps.

        Where this raises nothing is lost, and the next call continues.

        Returns:
            The finished answers.
        """
        self._answers += self._refill()
        self._rows.cover(STEPS)
        if self._rows.running:
            state = self._rows.state(rows=self._steps.rows_for(self._rows.used))
            self._answers += self._rows.record(self._steps.run(state))
        answers, self._answers = self._answers, []
        return answers

    def shrink(self) -> bool:
        """Halve the rows and the tokens of a pass over prompts, after memory ran out.

        The cache keeps its size. Prompts in rows that are no longer used wait again. All graphs are dropped,
        those of the runner too.

        Returns:
            Whether anything could be halved.
        """
        if not any([self._rows.shrink(), self._prefill.shrink()]):
            return False
        self._steps.clear()
        self._prefill.clear()
        return True

    def reduce_cache(self) -> bool:
        """Allocate a smaller cache: of the rows in use, or of half of them; their prompts start again.

        Returns:
            False where the cache has one row.

        Raises:
            NothingLeftError: there is no memory for one row either, and no cache any more.
        """
        if self.cached_rows == 1:
            return False
        most_tokens = self._prefill.most_tokens
        fewer = self._rows.limit if self._rows.limit < self.cached_rows else _half(self.cached_rows)
        self._prefill.clear()
        del self._prefill, self._steps  # and the cache with them
        while True:
            pages = max(self._row_pages, self.pages * fewer // self.cached_rows)
            self._rows.restart(fewer, pages=pages)
            if self._allocated(fewer, pages, most_tokens):
                return True
            if fewer == 1:
                raise NothingLeftError("no memory for the cache of decoding, not for one prompt either")
            fewer = _half(fewer)

    def _allocated(self, rows: int, pages: int, prefill_tokens: int) -> bool:
        """Allocate as `_allocate` does; return False where memory ends."""
        try:
            self._allocate(rows, pages, prefill_tokens)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def clear(self) -> None:
        """Drop the graphs of decoding steps; needed after the base's matrices have moved in memory."""
        self._steps.clear()

    def _refill(self) -> list[Answer]:
        """Start waiting prompts in free rows, and return answers that end with their first token."""
        chosen = self._rows.plan()
        # A pass over few prompts takes about as long as one over many, so it waits for enough of them.
        enough = min(self._rows.waiting, self._rows.running // _REFILL_SHARE)
        if not chosen or (self._rows.running and len(chosen) < enough):
            return []
        chosen.sort(key=lambda one: one.prompt.slot)
        return self._rows.start(chosen, self._prefill.run(chosen))


def _half(rows: int) -> int:
    """Return half of some rows: any number up to a block, a multiple of blocks above."""
    return rows // 2 if rows <= GRANULE else max(GRANULE, rows // 2 // GRANULE * GRANULE)
