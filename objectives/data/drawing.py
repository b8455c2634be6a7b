"""Random draws by a fixed hash of the content: equal on every machine and for every order of the rows."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from loratory.objectives.data.strata import choose_in_proportion, leaving_one

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Halves(Generic[_Item]):
    """A sequence split into two parts, each in the original order.

    Attributes:
        drawn: the drawn items.
        rest: the items that were not drawn.
        held_back: items in neither part, so that no group is in both.
        by_group: whether groups were kept whole.
    """

    drawn: tuple[_Item, ...]
    rest: tuple[_Item, ...]
    held_back: tuple[_Item, ...] = ()
    by_group: bool = True


def rank(salt: str, key: str) -> bytes:
    """Return the sort key of `key` in the fixed random order named `salt`."""
    return hashlib.sha256(f"{salt}\0{key}".encode()).digest()


def draw(
    items: Sequence[_Item],
    count: int,
    *,
    key: Callable[[_Item], str],
    salt: str,
    label: Callable[[_Item], str] | None = None,
) -> tuple[_Item, ...]:
    """Draw `count` items, or all if there are fewer; without labels a larger draw contains every smaller one.

    Args:
        items: the items to draw from.
        count: number of items to draw.
        key: name of an item.
        salt: name of the draw.
        label: label of an item; labels are drawn in proportion. None: items have no labels.
    """
    order = sorted(range(len(items)), key=lambda index: (rank(salt, key(items[index])), index))
    if label is None or count >= len(items):
        chosen = set(order[:count])
    else:
        single = {str(index): {label(item): 1} for index, item in enumerate(items)}
        names = choose_in_proportion(single, count, order=[str(i) for i in order], leave_one=False)
        chosen = set(map(int, names))
    return tuple(item for index, item in enumerate(items) if index in chosen)


def split_fraction(
    items: Sequence[_Item],
    fraction: float,
    *,
    group: Callable[[_Item], str],
    salt: str,
    label: Callable[[_Item], str] | None = None,
) -> Halves[_Item]:
    """Draw whole groups up to a share of the items; more only if every group is larger than that share.

    Args:
        items: the items to split; they have at least two groups.
        fraction: share to draw.
        group: name of an item's group.
        salt: name of the draw.
        label: label of an item; labels are drawn in proportion, and of each at least one item is not drawn.
            None: items have no labels.

    Returns:
        The halves; where every group has the last item of a label, nothing is drawn.
    """
    sizes = Counter(map(group, items))
    room = min(max(1, round(len(items) * fraction)), len(items) - 1)
    chosen = _fill(items, room, group=group, salt=salt, label=label, leave_one=True)
    if not chosen:
        names = sizes if label is None else leaving_one(_labels_of(items, group, label))
        chosen = set(sorted(names, key=lambda name: (sizes[name], rank(salt, name)))[:1])
    return _halves(items, group, chosen)


def split_count(
    items: Sequence[_Item],
    count: int,
    *,
    group: Callable[[_Item], str],
    key: Callable[[_Item], str],
    salt: str,
    label: Callable[[_Item], str] | None = None,
) -> Halves[_Item]:
    """Draw exactly `count` items, by whole groups where that is possible.

    Groups are taken whole, in hash order, while they fit. The smallest remaining group fills the gap, and
    its other items are held back from both parts. If that would hold back over a tenth of the items, or
    leave no rest, groups are too few or too large to keep whole, and items are drawn one by one.

    Args:
        items: the items to split.
        count: number of items to draw; smaller than the number of items.
        group: name of an item's group.
        key: name of an item.
        salt: name of the draw.
        label: label of an item; labels are drawn in proportion. None: items have no labels.
    """
    sizes = Counter(map(group, items))
    chosen = _fill(items, count, group=group, salt=salt, label=label, leave_one=False)
    gap = count - sum(sizes[name] for name in chosen)
    cut = min((n for n in sizes if n not in chosen), key=lambda n: (sizes[n], rank(salt, n)), default=None)
    held_back = sizes[cut] - gap if gap and cut is not None else 0
    if held_back > len(items) / 10 or held_back >= len(items) - count:
        drawn = draw(items, count, key=key, salt=salt, label=label)
        return Halves(drawn, _without(items, drawn), by_group=False)
    halves = _halves(items, group, chosen)
    if not gap:
        return halves
    members = [item for item in halves.rest if group(item) == cut]
    filler = draw(members, gap, key=key, salt=salt)
    drawn = _without(items, _without(items, (*halves.drawn, *filler)))
    return Halves(drawn, _without(halves.rest, members), _without(members, filler))


def _fill(
    items: Sequence[_Item],
    room: int,
    *,
    group: Callable[[_Item], str],
    salt: str,
    label: Callable[[_Item], str] | None,
    leave_one: bool,
) -> set[str]:
    """Return groups that fill some room, in hash order; labels are in proportion, where there are any."""
    sizes = Counter(map(group, items))
    order = sorted(sizes, key=lambda name: rank(salt, name))
    if label is not None:
        labels = _labels_of(items, group, label)
        return choose_in_proportion(labels, room, order=order, leave_one=leave_one)
    chosen = set()
    for name in order:
        if sizes[name] <= room:
            chosen.add(name)
            room -= sizes[name]
    return chosen


def _labels_of(
    items: Sequence[_Item], group: Callable[[_Item], str], label: Callable[[_Item], str]
) -> dict[str, Counter[str]]:
    labels: dict[str, Counter[str]] = {}
    for item in items:
        labels.setdefault(group(item), Counter())[label(item)] += 1
    return labels


def _halves(items: Sequence[_Item], group: Callable[[_Item], str], chosen: set[str]) -> Halves[_Item]:
    drawn = tuple(item for item in items if group(item) in chosen)
    return Halves(drawn, tuple(item for item in items if group(item) not in chosen))


def _without(items: Sequence[_Item], taken: Sequence[object]) -> tuple[_Item, ...]:
    gone = {id(item) for item in taken}
    return tuple(item for item in items if id(item) not in gone)
