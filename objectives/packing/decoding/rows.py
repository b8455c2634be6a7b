"""Which prompt is decoded in which row: rows come in blocks, and a block is one slot's at a time."""

from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

GRANULE = 16
"""Rows of a block, and tokens of a block where prompts are read."""

BASE = -1
"""The slot of the bare base."""


def until_end(ids: Sequence[int], end_ids: Collection[int]) -> tuple[int, ...]:
    """An answer up to its first end token, which is left out."""
    end = next((place for place, token in enumerate(ids) if token in end_ids), len(ids))
    return tuple(ids[:end])


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is to be answered.

    Attributes:
        slot: row of the stack whose adapter answers; -1 for the bare base.
        key: given back with the answer.
        ids: its tokens, at least one.
    """

    slot: int
    key: Hashable
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was decoded.

    Attributes:
        slot: the prompt's.
        key: the prompt's.
        ids: the new tokens before the first end token.
    """

    slot: int
    key: Hashable
    ids: tuple[int, ...]


@dataclass
class _Running:
    prompt: Prompt
    ids: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Position of the last token, which is not in the cache yet."""
        return len(self.prompt.ids) + len(self.ids) - 1


@dataclass(frozen=True, kw_only=True)
class RowState:
    """The rows as a step of decoding finds them, up to the last block in use.

    Attributes:
        tokens: int32 [M], the last token of each.
        lengths: int32 [M], how many came before it.
        block_slots: int32 [M / GRANULE], whose each block is; -1 for the bare base or nobody.
        running: bool [M], whether there is a prompt.
        most: no row needs more tokens than this.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    block_slots: NDArray[np.int32]
    running: NDArray[np.bool_]
    most: int


class DecodingRows:
    """Prompts that wait, and rows that decode; longest prompts first within a slot.

    Attributes:
        limit: rows that are used at once, a multiple of `GRANULE`.
    """

    def __init__(self, rows: int, *, end_ids: Iterable[int], padding_id: int, max_new_tokens: int) -> None:
        """Nothing waits and nothing runs.

        Args:
            rows: a multiple of `GRANULE`.
            end_ids: each ends an answer.
            padding_id: the token of rows without a prompt.
            max_new_tokens: longest answer.
        """
        if rows < GRANULE or rows % GRANULE:
            raise ValueError(f"rows: must be a multiple of {GRANULE}, got {rows}")
        self.limit = rows
        self._ends, self._padding, self._most = frozenset(end_ids), padding_id, max_new_tokens
        self._waiting: dict[int, deque[Prompt]] = {}
        self._running: dict[int, _Running] = {}

    @property
    def waiting(self) -> int:
        """How many prompts have no row yet."""
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        """How many rows have a prompt."""
        return len(self._running)

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Let prompts wait."""
        for prompt in prompts:
            self._waiting.setdefault(prompt.slot, deque()).append(prompt)
        for slot, queue in self._waiting.items():
            self._waiting[slot] = deque(sorted(queue, key=lambda prompt: -len(prompt.ids)))

    def drop(self, slot: int) -> None:
        """Forget a slot's prompts and rows."""
        self._waiting.pop(slot, None)
        self._running = {row: r for row, r in self._running.items() if r.prompt.slot != slot}

    def shrink(self) -> bool:
        """Use only the first half of the rows from now on; prompts in the others wait again.

        Returns:
            False where one block is all there is.
        """
        if self.limit == GRANULE:
            return False
        self.limit = max(GRANULE, self.limit // 2 // GRANULE * GRANULE)
        self.add(running.prompt for row, running in self._running.items() if row >= self.limit)
        self._running = {row: running for row, running in self._running.items() if row < self.limit}
        return True

    def plan(self) -> list[tuple[int, Prompt]]:
        """Rows for waiting prompts: in blocks that their slot has, then in blocks that nobody has."""
        owners = self._owners()
        left = {slot: deque(queue) for slot, queue in self._waiting.items() if queue}
        chosen: list[tuple[int, Prompt]] = []
        for block in sorted(range(self.limit // GRANULE), key=lambda block: block not in owners):
            if not left:
                break
            # A free block goes to the slot for which most prompts wait.
            slot = owners[block] if block in owners else max(left, key=lambda slot: len(left[slot]))
            for row in range(block * GRANULE, (block + 1) * GRANULE):
                if row not in self._running and slot in left:
                    chosen.append((row, left[slot].popleft()))
                    if not left[slot]:
                        del left[slot]
        return chosen

    def start(self, chosen: Iterable[tuple[int, Prompt]], first_ids: Iterable[int]) -> list[Answer]:
        """Put a plan into effect.

        Args:
            chosen: the plan, in any order.
            first_ids: the first new token of each.

        Returns:
            The answers that are over with it.
        """
        started = {
            row: _Running(prompt, [first]) for (row, prompt), first in zip(chosen, first_ids, strict=True)
        }
        for slot, count in Counter(running.prompt.slot for running in started.values()).items():
            for _ in range(count):
                self._waiting[slot].popleft()
        self._running |= started
        return self._finished(started)

    def record(self, tokens: NDArray[np.int32]) -> list[Answer]:
        """Add new tokens.

        Args:
            tokens: int32 [steps, M], of every row.

        Returns:
            The answers that are over.
        """
        # The device waits meanwhile: only rows in which something ended are looked at one by one.
        _, with_end = np.nonzero(np.isin(tokens, list(self._ends)))
        ended, columns = set(with_end.tolist()), tokens.T.tolist()
        over: list[int] = []
        for row, running in self._running.items():
            running.ids += columns[row]
            if row in ended or len(running.ids) >= self._most:
                over.append(row)
        return self._finished(over)

    def state(self, *, rows: int) -> RowState:
        """The first rows as they are now."""
        tokens = np.full(rows, self._padding, dtype=np.int32)
        lengths, active = np.zeros(rows, dtype=np.int32), np.zeros(rows, dtype=np.bool_)
        block_slots = np.full(rows // GRANULE, -1, dtype=np.int32)
        own, running = list(self._running), list(self._running.values())
        tokens[own], lengths[own] = [one.ids[-1] for one in running], [one.length for one in running]
        active[own] = True
        for block, slot in self._owners().items():
            block_slots[block] = slot
        most = max((self._most - len(one.ids) for one in running), default=0)
        return RowState(tokens=tokens, lengths=lengths, block_slots=block_slots, running=active, most=most)

    @property
    def used(self) -> int:
        """Rows up to the end of the last block in use."""
        return (max(self._owners(), default=-1) + 1) * GRANULE

    def _owners(self) -> dict[int, int]:
        """The slot of each block in use."""
        return {row // GRANULE: running.prompt.slot for row, running in self._running.items()}

    def _finished(self, rows: Iterable[int]) -> list[Answer]:
        """The answers that are over in some rows, which are free then."""
        answers = []
        for row in sorted(rows):
            prompt, ids = self._running[row].prompt, self._running[row].ids[: self._most]
            answer = until_end(ids, self._ends)
            if len(answer) < len(ids) or len(ids) == self._most:
                answers.append(Answer(slot=prompt.slot, key=prompt.key, ids=answer))
                del self._running[row]
        return answers
