"""Many texts in one block of bytes: small in memory, and cheap to send to workers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

_Value = TypeVar("_Value", bound="np.generic[Any]")

_BLOCK = 16_384
_NOT_ASCII = 128


class Texts(Sequence[str]):
    """An immutable sequence of texts, joined as UTF-8.

    Attributes:
        data: uint8 [bytes], all texts one after the other.
        offsets: int64 [n + 1], where each text begins, and the end of the last.
    """

    __slots__ = ("data", "offsets")

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.data, self.offsets = data, offsets

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Join texts; half a surrogate pair, which UTF-8 lacks, is kept too."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return cls(data, offsets_of(list(map(len, encoded))))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the texts of several sequences as one."""
        if not parts:
            return cls.of(())
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(np.concatenate([part.data for part in parts]), offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> str | Self:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        return self._text(self.data[self.offsets[place] : self.offsets[place + 1]].tobytes())

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _BLOCK):
            offsets = self.offsets[first : first + _BLOCK + 1]
            yield from self._block(self.data[offsets[0] : offsets[-1]], (offsets - offsets[0]).tolist())

    def _block(self, data: NDArray[np.uint8], offsets: list[int]) -> Iterator[str]:
        content = data.tobytes()
        if content.isascii():  # a character is a byte: text can be cut where bytes are
            text = self._text(content)
            return (text[start:end] for start, end in pairwise(offsets))
        return (self._text(content[start:end]) for start, end in pairwise(offsets))

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Return the texts at some indices, in their order."""
        chosen, offsets = take_ragged(self.data, self.offsets, indices)
        return type(self)(chosen, offsets)

    @staticmethod
    def _text(data: bytes | memoryview) -> str:
        return str(data, "utf-8", "surrogatepass")


def offsets_of(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each piece of a joined sequence begins, and the end of the last, int64 [n + 1]."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def take_ragged(
    values: NDArray[_Value], offsets: NDArray[np.int64], indices: NDArray[np.int64]
) -> tuple[NDArray[_Value], NDArray[np.int64]]:
    """Return the pieces of a joined array at some indices, joined in their order, and their offsets."""
    starts, lengths = offsets[:-1][indices], (offsets[1:] - offsets[:-1])[indices]
    chosen = offsets_of(lengths)
    taken = np.empty(chosen[-1], dtype=values.dtype)
    # In blocks, since the places of all values would take eight bytes for each.
    for first in range(0, len(indices), _BLOCK):
        block = slice(first, first + _BLOCK)
        start, end = chosen[first], chosen[min(first + _BLOCK, len(indices))]
        shifts = np.repeat(starts[block] - chosen[:-1][block], lengths[block])
        taken[start:end] = values[shifts + np.arange(start, end)]
    return taken, chosen
