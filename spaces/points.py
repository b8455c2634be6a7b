"""The points of a search space, where their number is finite."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


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
