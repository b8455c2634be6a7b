"""The points of a search space, where their number is finite."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study
from optuna.trial import FrozenTrial


def listed_values(distribution: BaseDistribution) -> list[Any] | None:
    """Return every value of a parameter; None for a continuous range."""
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case IntDistribution():
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        case FloatDistribution(step=float() as step):
            # A thousandth of a step allows for rounding in the last value.
            count = int((distribution.high - distribution.low) / step + 1e-3) + 1
            return [distribution.low + index * step for index in range(count)]
    return (
        [distribution.low] if isinstance(distribution, FloatDistribution) and distribution.single() else None
    )


def count_points(space: Mapping[str, BaseDistribution]) -> int | None:
    """Return the number of points of a space; None where a range is continuous."""
    values = [listed_values(distribution) for distribution in space.values()]
    return None if any(listed is None for listed in values) else math.prod(len(v) for v in values if v)


def place(distribution: BaseDistribution, value: Any) -> Any:
    """Return what tells a value from the others; of a float with steps the index, since rounding differs."""
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((value - distribution.low) / distribution.step)
    return value


def point_key(space: Mapping[str, BaseDistribution], point: Mapping[str, Any]) -> Hashable:
    """Return what tells a point from the others; parameters of a single value do not count."""
    return tuple(
        place(distribution, point[name]) if name in point else None
        for name, distribution in space.items()
        if not distribution.single()
    )


def earlier_points(study: Study, trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return the points of all other trials; hyperband shows a sampler only those of one bracket."""
    rows = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return [row.params for row in rows if row.number != trial.number and row.params]
