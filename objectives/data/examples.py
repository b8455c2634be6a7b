"""One prompt with its answer, and many of them as flat arrays."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.texts import Texts, offsets_of, take_ragged


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt and its answer.

    Attributes:
        example_id: unique in the study; made from the content, so it survives reordering.
        group: name shared by the rows of one document or module.
        prompt: the text that the model reads, template applied.
        reference: the answer, without end-of-sequence.
        prompt_ids: token ids of the prompt, special tokens included.
        answer_ids: token ids of the answer, end-of-sequence last.
        learned: for each token of prompt and answer, whether the loss is on it; None: on the answer alone.
    """

    example_id: str
    group: str
    prompt: str
    reference: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    learned: tuple[bool, ...] | None = None

    def __len__(self) -> int:
        """Return the number of tokens of prompt and answer."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples(Sequence[Example]):
    """An immutable sequence of n examples with T tokens in all; an `Example` is made where one is read.

    Attributes:
        example_ids: id of each example.
        groups: group of each example.
        prompts: prompt of each example.
        references: answer of each example.
        token_ids: int32 [T], of each example the prompt and then the answer.
        offsets: int64 [n + 1], where each example begins in `token_ids`, and the end of the last.
        prompt_lengths: int64 [n], tokens of each prompt.
        learned: bool [T], whether the loss is on a token; None: on the answers alone.
    """

    example_ids: Texts
    groups: Texts
    prompts: Texts
    references: Texts
    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    prompt_lengths: NDArray[np.int64]
    learned: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, examples: Iterable[Example]) -> Self:
        """Return examples as arrays."""
        given = list(examples)
        ids = [token for e in given for part in (e.prompt_ids, e.answer_ids) for token in part]
        return cls(
            example_ids=Texts.of(e.example_id for e in given),
            groups=Texts.of(e.group for e in given),
            prompts=Texts.of(e.prompt for e in given),
            references=Texts.of(e.reference for e in given),
            token_ids=np.array(ids, dtype=np.int32),
            offsets=offsets_of([len(e) for e in given]),
            prompt_lengths=np.array([len(e.prompt_ids) for e in given], dtype=np.int64),
            learned=_learned(given),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the examples of several sequences as one."""
        if len(parts) < 2:
            return parts[0] if parts else cls.of(())
        masked = any(part.learned is not None for part in parts)
        return cls(
            example_ids=Texts.joined([part.example_ids for part in parts]),
            groups=Texts.joined([part.groups for part in parts]),
            prompts=Texts.joined([part.prompts for part in parts]),
            references=Texts.joined([part.references for part in parts]),
            token_ids=np.concatenate([part.token_ids for part in parts]),
            offsets=offsets_of(np.concatenate([part.lengths for part in parts])),
            prompt_lengths=np.concatenate([part.prompt_lengths for part in parts]),
            learned=np.concatenate([part.mask() for part in parts]) if masked else None,
        )

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Example | Self:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        start, end = int(self.offsets[place]), int(self.offsets[place + 1])
        answer = start + int(self.prompt_lengths[place])
        return Example(
            example_id=self.example_ids[place],
            group=self.groups[place],
            prompt=self.prompts[place],
            reference=self.references[place],
            prompt_ids=tuple(self.token_ids[start:answer].tolist()),
            answer_ids=tuple(self.token_ids[answer:end].tolist()),
            learned=None if self.learned is None else tuple(self.learned[start:end].tolist()),
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __add__(self, other: Sequence[Example]) -> tuple[Example, ...]:
        return (*self, *other)

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Return the examples at some indices, in their order."""
        token_ids, offsets = take_ragged(self.token_ids, self.offsets, indices)
        return type(self)(
            example_ids=self.example_ids.take(indices),
            groups=self.groups.take(indices),
            prompts=self.prompts.take(indices),
            references=self.references.take(indices),
            token_ids=token_ids,
            offsets=offsets,
            prompt_lengths=self.prompt_lengths[indices],
            learned=None if self.learned is None else take_ragged(self.learned, self.offsets, indices)[0],
        )

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of prompt and answer of each example, int64 [n]."""
        return np.diff(self.offsets)

    @property
    def answer_lengths(self) -> NDArray[np.int64]:
        """Tokens of each answer, int64 [n]."""
        return self.lengths - self.prompt_lengths

    def mask(self) -> NDArray[np.bool_]:
        """Return whether the loss is on each token, bool [T]."""
        if self.learned is not None:
            return self.learned
        answers = np.repeat(self.offsets[:-1] + self.prompt_lengths, self.lengths)
        return np.arange(len(self.token_ids)) >= answers


def _learned(examples: Sequence[Example]) -> NDArray[np.bool_] | None:
    if all(e.learned is None for e in examples):
        return None
    masks = [e.learned or (*[False] * len(e.prompt_ids), *[True] * len(e.answer_ids)) for e in examples]
    return np.array([on for mask in masks for on in mask], dtype=np.bool_)
