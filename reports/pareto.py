"""Pareto fronts of the study's metric against what an adapter costs."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from loratory.reports.comparison_report import ScoredTrial
from loratory.reports.ranking import sign
from loratory.reports.trade_offs import ParetoFront, ParetoPoint
from loratory.spaces.metric_names import Direction


class _Cost(NamedTuple):
    name: str
    label: str
    of: Callable[[ScoredTrial], float | None]
    note: str
    missing: str


_COSTS = (
    _Cost(
        "adapter_bytes",
        "adapter size",
        lambda trial: trial.adapter_bytes,
        "Size of adapter_model.safetensors.",
        "No adapter is recorded.",
    ),
    _Cost(
        "training_seconds",
        "training time",
        lambda trial: trial.device_seconds or None,
        "Device time of training and evaluation; the time of a pack is shared among its trials by tokens.",
        "No device time is recorded.",
    ),
    _Cost(
        "decoding_tokens_per_second",
        "decoding speed",
        lambda _: None,
        "",
        "Not recorded: trials are decoded together, so none has a speed alone.",
    ),
    _Cost(
        "peak_memory_bytes",
        "peak memory",
        lambda trial: _to_digits(trial.peak_memory_bytes),
        "Peak of the whole pack, on a CPU of the process, in three digits: not what a trial needs alone.",
        "No peak memory is recorded.",
    ),
)


def _to_digits(amount: int) -> int | None:
    """Round a measured amount to three digits; None for 0. Smaller differences are chance."""
    return round(amount, 3 - len(str(amount))) if amount else None


def pareto_fronts(
    scored: Sequence[ScoredTrial], direction: Direction, *, may_be_best: Iterable[str]
) -> tuple[ParetoFront, ...]:
    """Return the front of the study's metric against each cost; without trials none.

    Args:
        scored: trials and trainings anew.
        direction: which values of the metric are better.
        may_be_best: keys of the trials that may be the best.
    """
    members = frozenset(may_be_best)
    return tuple(_front(scored, cost, direction, members) for cost in _COSTS) if scored else ()


def _front(
    scored: Sequence[ScoredTrial], cost: _Cost, direction: Direction, members: frozenset[str]
) -> ParetoFront:
    points = [
        ParetoPoint(
            key=trial.key,
            shown=trial.shown,
            cost=float(amount),
            value=trial.value,
            may_be_best=trial.key in members,
        )
        for trial in scored
        if (amount := cost.of(trial)) is not None
    ]
    if not points:
        return ParetoFront(cost=cost.name, label=cost.label, note=cost.missing)
    front = _undominated(points, sign(direction))
    kept = {point.key for point in front}
    absent = len(scored) - len(points)
    note = cost.note + (f" {absent} of {len(scored)} trials have none recorded." if absent else "")
    return ParetoFront(
        cost=cost.name,
        label=cost.label,
        front=tuple(front),
        others=tuple(point for point in points if point.key not in kept),
        note=note,
    )


def _undominated(points: Sequence[ParetoPoint], better: float) -> list[ParetoPoint]:
    """Return the points that no other dominates, the cheapest first; equal ones are all kept."""
    front: list[ParetoPoint] = []
    for point in sorted(points, key=lambda p: (p.cost, -better * p.value)):
        last = front[-1] if front else None
        equal = last is not None and (point.cost, point.value) == (last.cost, last.value)
        if last is None or equal or better * point.value > better * last.value:
            front.append(point)
    return front
