"""Keys that distinguish the points of a search space."""

from collections.abc import Hashable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial


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
