"""Units: the examples or groups of examples that are left out and drawn together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def units_of(groups: Sequence[str]) -> tuple[str, NDArray[np.intp]]:
    """Return the name of the unit and the index of each example's unit, [n].

    An example without a group is a unit alone.
    """
    names = np.array([f"g{name}" if name else f"e{i}" for i, name in enumerate(groups)], dtype=np.str_)
    distinct, unit_of_example = np.unique(names, return_inverse=True)
    if len(distinct) == len(names):
        return "example", np.arange(len(names))
    return "group", unit_of_example


def summed_by_unit(columns: NDArray[np.float64], unit_of_example: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum [N, n, d] over the examples of each unit: [N, G, d]."""
    if len(unit_of_example) == unit_of_example.max() + 1:
        return columns.astype(np.float64, copy=False)
    order = np.argsort(unit_of_example, kind="stable")
    starts = np.flatnonzero(np.diff(unit_of_example[order], prepend=-1))
    return np.add.reduceat(columns[:, order], starts, axis=1)
