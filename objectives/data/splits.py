"""Draws of eval from train, of dev, select and confirm from eval, and of examples up to a limit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loratory.objectives.data.drawing import Halves, draw, split_count, split_fraction
from loratory.objectives.data.encoded_rows import EncodedRows, Indices
from loratory.objectives.data.prepared import Examples
from loratory.objectives.data.shares import dev_examples, eval_fraction, select_and_confirm
from loratory.spaces.errors import InputError

Label = Callable[[int], str]
"""Label of a row or an example by its index."""


def draw_eval(
    rows: EncodedRows, train: Indices, fraction: float | None, *, label: Label | None
) -> Halves[int]:
    """Draw the rows of eval from those of train, by whole groups.

    Args:
        rows: all rows.
        train: indices of the rows of train.
        fraction: `data.eval_fraction`; None takes a share by the number of rows.
        label: where labels are drawn in proportion, the label of a row.

    Raises:
        InputError: train is one group, or needs every row for its label.
    """
    groups, indices = rows.group_keys(), train.tolist()
    if len({groups[index] for index in indices}) < 2:
        raise InputError(
            "data.eval must name a source: the rows of train are all one group and cannot be split; "
            "or set data.group_column: null"
        )
    share = fraction or eval_fraction(len(indices))
    halves = split_fraction(indices, share, group=groups.__getitem__, salt="eval", label=label)
    if not halves.drawn:
        raise InputError(
            "data.eval must name a source: each label of train is in one row or group alone, "
            "which train needs"
        )
    return halves


_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Selected:
    """Select and confirm, and how they were divided; no halves where confirm is empty."""

    select: Examples
    confirm: Examples
    halves: Halves[int] | None = None


class Draws:
    """Draws examples by their ids.

    Args:
        examples: all examples, with unique ids.
        label: where labels are drawn in proportion, the label of an example.
    """

    def __init__(self, examples: Examples, label: Label | None) -> None:
        self._examples, self._label = examples, label
        self._key = list(examples.example_ids).__getitem__
        self._group = list(examples.groups).__getitem__

    def halves(self, indices: Indices, dev: int | None) -> Halves[int]:
        """Divide eval into dev and select.

        Args:
            indices: examples of eval.
            dev: `evaluation.dev_examples`; None takes a number by that of eval.

        Raises:
            InputError: eval has too few examples.
        """
        count = _dev_size(dev, len(indices))
        return split_count(
            indices.tolist(), count, group=self._group, key=self._key, salt="dev", label=self._label
        )

    def selected(self, indices: Indices, *, select: int | None, confirm: int | None) -> "Selected":
        """Draw select and confirm from what dev leaves of eval.

        What dev leaves is divided between them in proportion, by whole groups where that is possible; each
        then takes its number, from as many groups as its share has.

        Args:
            indices: examples of eval that dev leaves.
            select: `evaluation.select_examples`.
            confirm: `evaluation.confirm_examples`; 0 leaves all to select.
        """
        wanted, unseen = select_and_confirm(len(indices), select=select, confirm=confirm)
        if not unseen:
            return Selected(select=self.drawn(indices, select, "select"), confirm=self._examples.take(_NONE))
        share = max(wanted, len(indices) * wanted // (wanted + unseen))
        halves = split_count(
            indices.tolist(), share, group=self._group, key=self._key, salt="select", label=self._label
        )
        return Selected(
            select=self.drawn(np.array(halves.drawn), wanted, "select"),
            confirm=self.drawn(np.array(halves.rest), unseen, "confirm"),
            halves=halves,
        )

    def drawn(self, indices: Indices, count: int | None, salt: str) -> Examples:
        """Return at most `count` examples; None takes all."""
        if count is not None:
            chosen = draw(indices.tolist(), count, key=self._key, salt=salt, label=self._label)
            indices = np.array(chosen, dtype=np.int64)
        return self._examples.take(indices)


def _dev_size(asked: int | None, found: int) -> int:
    size = asked or dev_examples(found)
    if size >= found:
        remedy = "lower it, or give more examples for eval" if found > 1 else "give more examples for eval"
        raise InputError(
            f"evaluation.dev_examples must leave eval examples for select: eval has {found} "
            f"after cleaning, got {size}; {remedy}"
        )
    return size
