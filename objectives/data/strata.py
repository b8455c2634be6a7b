"""Choose groups so that every label has about its share of what is drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence


def choose_in_proportion(
    groups: Mapping[str, Mapping[str, int]], room: int, *, order: Sequence[str], leave_one: bool
) -> set[str]:
    """Return names of groups that fill some room, with the labels of all groups in proportion.

    First groups are taken that bring the labels nearer to their shares, then any that fit.

    Args:
        groups: number of items of each label, by group.
        room: most items to take.
        order: names of the groups, in the order in which they are tried.
        leave_one: whether at least one item of each label is left.
    """
    choice = _Choice(_totals(groups), room, leave_one=leave_one)
    chosen = {name for name in order if choice.take(groups[name], nearer=True)}
    return chosen | {name for name in order if name not in chosen and choice.take(groups[name], nearer=False)}


def leaving_one(groups: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return names of the groups that do not have all items of any label."""
    totals = _totals(groups)
    return [name for name, labels in groups.items() if all(totals[n] > count for n, count in labels.items())]


def _totals(groups: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for labels in groups.values():
        totals.update(labels)
    return totals


class _Choice:
    """A choice of items by label, which grows item by item.

    Args:
        totals: number of items of each label.
        room: most items to take.
        leave_one: whether at least one item of each label is left.
    """

    def __init__(self, totals: Counter[str], room: int, *, leave_one: bool) -> None:
        items = totals.total()
        self._most = {label: count - leave_one for label, count in totals.items()}
        self._wanted = {label: room * count / items for label, count in totals.items()}
        self._room, self._taken = room, Counter[str]()

    def take(self, group: Mapping[str, int], *, nearer: bool) -> bool:
        """Take a group if it fits, with `nearer` only if that brings the labels nearer to their shares."""
        size = sum(group.values())
        if size > self._room or any(self._taken[n] + count > self._most[n] for n, count in group.items()):
            return False
        if nearer and self._change(group) >= 0:
            return False
        self._taken.update(group)
        self._room -= size
        return True

    def _change(self, group: Mapping[str, int]) -> float:
        """Return by how much the squared distances to the shares, relative to these, grow."""
        return sum(
            count * (count + 2 * (self._taken[label] - self._wanted[label])) / self._wanted[label]
            for label, count in group.items()
        )
