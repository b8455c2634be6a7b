"""Assignment of prompts to rows of the cache: rows form blocks, and a block has prompts of one slot."""

from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.packing.decoding.pages import PageTable, pages_for

GRANULE = 16
"""Rows per block in decoding, and tokens per block in prefill."""

_REMEMBERED = 256  # answers whose lengths say how long the next ones may be

BASE = -1
"""The slot of the bare base."""


def until_end(ids: Sequence[int], end_ids: Collection[int]) -> tuple[int, ...]:
    """Return an answer up to its first end token, which is left out."""
    end = next((place for place, token in enumerate(ids) if token in end_ids), len(ids))
    return tuple(ids[:end])


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt.

    Attributes:
        slot: the slot whose adapter answers; -1 for the bare base.
        key: returned with the answer.
        ids: its tokens, at least one.
    """

    slot: int
    key: Hashable
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a prompt.

    Attributes:
        slot: of the prompt.
        key: of the prompt.
        ids: the new tokens before the first end token.
    """

    slot: int
    key: Hashable
    ids: tuple[int, ...]


class Chosen(NamedTuple):
    """A prompt that starts in a row.

    Attributes:
        row: the row.
        prompt: the prompt.
        places: int64 [tokens], the place in the cache of each token of the prompt.
    """

    row: int
    prompt: Prompt
    places: NDArray[np.int64]


@dataclass
class _Running:
    """A prompt in a row, with the new tokens so far."""

    prompt: Prompt
    ids: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Position of the last token, whose key and value are not in the cache yet."""
        return len(self.prompt.ids) + len(self.ids) - 1


@dataclass(frozen=True, kw_only=True)
class RowState:
    """The rows at the start of a decoding step, up to the last block in use.

    Attributes:
        tokens: int32 [M], the last token of each row.
        lengths: int32 [M], number of tokens before it.
        block_slots: int32 [M / GRANULE], the slot of each block; -1 for the bare base and for unused blocks.
        running: bool [M], whether the row has a prompt.
        table: int32 [M, P], the pages of each row, see `pages.PageTable`.
        most: upper bound on the tokens that a row still needs.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    block_slots: NDArray[np.int32]
    running: NDArray[np.bool_]
    table: NDArray[np.int32]
    most: int


class DecodingRows:
    """The queue of waiting prompts, longest first within a slot, and the rows with prompts.

    A row takes pages of the cache as its tokens need them. Where pages end, the prompts that started last
    wait again and are answered anew: greedy decoding gives the same answer.

    Attributes:
        limit: number of rows in use at most.
        restarted: prompts that waited again since pages ended.
    """

    def __init__(
        self,
        rows: int,
        *,
        pages: int,
        positions: int,
        end_ids: Iterable[int],
        padding_id: int,
        max_new_tokens: int,
    ) -> None:
        """Start without prompts.

        Args:
            rows: number of rows; fewer than `GRANULE`, or a multiple of it.
            pages: of the cache.
            positions: positions of the longest prompt with the longest answer.
            end_ids: every token that ends an answer.
            padding_id: the token of rows without a prompt.
            max_new_tokens: longest answer.
        """
        if rows < 1 or (rows > GRANULE and rows % GRANULE):
            raise ValueError(f"rows: must be 1 to {GRANULE} or a multiple of {GRANULE}, got {rows}")
        self.limit, self.restarted = rows, 0
        self._ends, self._padding, self._most = frozenset(end_ids), padding_id, max_new_tokens
        self._pages, self._positions = PageTable(rows=rows, pages=pages, positions=positions), positions
        self._waiting: dict[int, deque[Prompt]] = {}
        self._running: dict[int, _Running] = {}  # the row that started first comes first
        self._planned: list[int] = []
        self._lengths: deque[int] = deque(maxlen=_REMEMBERED)

    @property
    def waiting(self) -> int:
        """Number of prompts without a row."""
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        """Number of rows with a prompt."""
        return len(self._running)

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Append prompts to the queue."""
        for prompt in prompts:
            self._waiting.setdefault(prompt.slot, deque()).append(prompt)
        for slot, queue in self._waiting.items():
            self._waiting[slot] = deque(sorted(queue, key=lambda prompt: -len(prompt.ids)))

    def drop(self, slot: int) -> None:
        """Remove a slot's prompts, waiting or in rows."""
        self._waiting.pop(slot, None)
        self._free([row for row, running in self._running.items() if running.prompt.slot == slot])

    def shrink(self) -> bool:
        """Use only the first half of the rows from now on; prompts in the others wait again.

        Returns:
            False where only one block is in use already: fewer of its rows would free nothing.
        """
        if self.limit <= GRANULE:
            return False
        self.limit = max(GRANULE, self.limit // 2 // GRANULE * GRANULE)
        self.add(self._free([row for row in self._running if row >= self.limit]))
        return True

    def restart(self, limit: int, *, pages: int) -> None:
        """Let all prompts wait again, for at most `limit` rows from now on: what the rows held is lost."""
        self.limit = limit
        self.add(self._free([*self._running]))
        self._planned = []
        self._pages = PageTable(rows=limit, pages=pages, positions=self._positions)

    def plan(self) -> list[Chosen]:
        """Choose rows for waiting prompts: first in blocks of their slot, then in unused blocks.

        Prompts start while there are pages for as many tokens as answers had so far on average.
        """
        self._drop_plan()
        left = {slot: deque(queue) for slot, queue in self._waiting.items()}
        answer = sum(self._lengths) // len(self._lengths) if self._lengths else self._most
        room = self._pages.pages - sum(
            pages_for(max(len(one.prompt.ids) + answer, one.length + 1)) for one in self._running.values()
        )
        chosen: list[Chosen] = []
        for row, slot in self._open_rows(left):
            prompt = left[slot][0]
            room -= pages_for(len(prompt.ids) + answer)
            if room < 0 and (chosen or self._running):
                break
            if not self._pages.extend(row, len(prompt.ids)):
                break
            self._planned.append(row)
            chosen.append(Chosen(row, left[slot].popleft(), self._pages.places(row, len(prompt.ids))))
        return chosen

    def _open_rows(self, left: dict[int, deque[Prompt]]) -> Iterator[tuple[int, int]]:
        """Yield rows without a prompt, and the slot whose next prompt in `left` they may have."""
        owners = self._owners()
        for block in sorted(range(-(-self.limit // GRANULE)), key=lambda block: block not in owners):
            # An unused block goes to the slot with the most waiting prompts.
            slot = owners.get(block, max(left, key=lambda slot: len(left[slot]), default=BASE))
            for row in range(block * GRANULE, min(self.limit, (block + 1) * GRANULE)):
                if row not in self._running and left.get(slot):
                    yield row, slot

    def _drop_plan(self) -> None:
        """Free the pages of a plan that did not start."""
        for row in self._planned:
            if row not in self._running:
                self._pages.release(row)
        self._planned = []

    def cover(self, steps: int) -> None:
        """Give the rows pages for their next steps; where pages end, those that started last wait again."""
        self._drop_plan()
        for row in [*self._running]:
            if row not in self._running:
                continue  # it waits again
            running = self._running[row]
            end = min(running.length + steps, len(running.prompt.ids) + self._most - 1)
            while not self._pages.extend(row, end):
                last = next(reversed(self._running))
                self.add(self._free([last]))
                self.restarted += 1
                if last == row:
                    break

    def start(self, chosen: Iterable[Chosen], first_ids: Iterable[int]) -> list[Answer]:
        """Start the prompts of a plan in their rows.

        Args:
            chosen: the plan, in any order.
            first_ids: the first new token of each prompt.

        Returns:
            The answers that end with this token.
        """
        started = {
            one.row: _Running(one.prompt, [first]) for one, first in zip(chosen, first_ids, strict=True)
        }
        for slot, count in Counter(running.prompt.slot for running in started.values()).items():
            for _ in range(count):
                self._waiting[slot].popleft()
        self._running |= started
        return self._finished(started)

    def record(self, tokens: NDArray[np.int32]) -> list[Answer]:
        """Append new tokens to the rows.

        Args:
            tokens: int32 [steps, M], of every row.

        Returns:
            The finished answers.
        """
        # The device is idle meanwhile, so only rows with an end token are searched one by one.
        _, with_end = np.nonzero(np.isin(tokens, list(self._ends)))
        ended, columns = set(with_end.tolist()), tokens.T.tolist()
        over: list[int] = []
        for row, running in self._running.items():
            running.ids += columns[row]
            if row in ended or len(running.ids) >= self._most:
                over.append(row)
        return self._finished(over)

    def state(self, *, rows: int) -> RowState:
        """Return the state of the first `rows` rows."""
        tokens = np.full(rows, self._padding, dtype=np.int32)
        lengths, active = np.zeros(rows, dtype=np.int32), np.zeros(rows, dtype=np.bool_)
        block_slots = np.full(rows // GRANULE, -1, dtype=np.int32)
        own, running = list(self._running), list(self._running.values())
        tokens[own], lengths[own] = [one.ids[-1] for one in running], [one.length for one in running]
        active[own] = True
        for block, slot in self._owners().items():
            block_slots[block] = slot
        most = max((self._most - len(one.ids) for one in running), default=0)
        return RowState(
            tokens=tokens,
            lengths=lengths,
            block_slots=block_slots,
            running=active,
            table=self._pages.first(rows),
            most=most,
        )

    @property
    def used(self) -> int:
        """Number of rows up to the end of the last block in use."""
        return (max(self._owners(), default=-1) + 1) * GRANULE

    def _owners(self) -> dict[int, int]:
        """Return the slot of each block in use."""
        return {row // GRANULE: running.prompt.slot for row, running in self._running.items()}

    def _free(self, rows: Iterable[int]) -> list[Prompt]:
        """Take the prompts out of some rows, and return them."""
        prompts = []
        for row in rows:
            prompts.append(self._running.pop(row).prompt)
            self._pages.release(row)
        return prompts

    def _finished(self, rows: Iterable[int]) -> list[Answer]:
        """Return the finished answers among some rows, and free their rows."""
        answers = []
        for row in sorted(rows):
            prompt, ids = self._running[row].prompt, self._running[row].ids[: self._most]
            answer = until_end(ids, self._ends)
            if len(answer) < len(ids) or len(ids) == self._most:
                answers.append(Answer(slot=prompt.slot, key=prompt.key, ids=answer))
                self._free([row])
                self._lengths.append(len(ids))
        return answers
