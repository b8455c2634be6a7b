"""Pages of the cache: rows take as many as their tokens need (Kwon et al., "PagedAttention", 2023)."""

import numpy as np
from numpy.typing import NDArray

PAGE = 16
"""Positions per page."""


def pages_for(positions: int) -> int:
    """Return the pages that hold some positions."""
    return -(-positions // PAGE)


class PageTable:
    """Which pages belong to which row.

    Attributes:
        pages: N, the number of pages.
        numbers: int32 [rows, P], the page of each `PAGE` positions of a row; N where the row has none yet:
            the page of padding, which follows all others.
    """

    def __init__(self, *, rows: int, pages: int, positions: int) -> None:
        """Start with all pages free.

        Args:
            rows: number of rows.
            pages: N, enough for the longest row.
            positions: positions of the longest row.

        Raises:
            ValueError: there are too few pages for the longest row.
        """
        if pages < pages_for(positions):
            raise ValueError(f"pages: must be at least {pages_for(positions)} for a whole row, got {pages}")
        self.pages = pages
        self.numbers = np.full((rows, pages_for(positions)), pages, dtype=np.int32)
        self._taken = [0] * rows
        self._free = [*range(pages)]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    @property
    def free(self) -> int:
        """Number of pages without a row."""
        return len(self._free)

    def extend(self, row: int, positions: int) -> bool:
        """Let a row have pages for its first positions.

        Returns:
            False where too few pages are free; then nothing changes.
        """
        taken, wanted = self._taken[row], pages_for(positions)
        if wanted - taken > len(self._free):
            return False
        for place in range(taken, wanted):
            self.numbers[row, place] = self._free.pop()
        self._taken[row] = max(taken, wanted)
        return True

    def release(self, row: int) -> None:
        """Free the pages of a row."""
        taken = self._taken[row]
        self._free += self.numbers[row, :taken].tolist()
        self.numbers[row] = self.pages
        self._taken[row] = 0

    def places(self, row: int, positions: int) -> NDArray[np.int64]:
        """Return the places of a row's first positions, int64 [positions]: page x PAGE + offset."""
        position = np.arange(positions)
        pages: NDArray[np.int64] = self.numbers[row, position // PAGE].astype(np.int64)
        return pages * PAGE + position % PAGE

    def first(self, rows: int) -> NDArray[np.int32]:
        """Return the pages of the first rows, int32 [rows, P]; rows beyond the last have none."""
        beyond = max(0, rows - self.rows)
        return np.pad(self.numbers[:rows], ((0, beyond), (0, 0)), constant_values=self.pages)
