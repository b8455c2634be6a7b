"""Warnings on intervals that are less reliable than their level says."""

from loratory.reports.statistics.scored import Scored

FEW_GROUPS = 10
MANY_LABELS = 20


def few_groups(unit: str | None, units: int) -> bool:
    """Return whether units are so few groups that intervals are rough (Cameron and Miller, 2015)."""
    return unit == "group" and units < FEW_GROUPS


def cautions(scored: Scored) -> tuple[str, ...]:
    """Return sentences on the intervals of these scores; none if they can be taken as they are.

    Many labels: in simulations intervals of macro F1 hold 0.95 of the
    true values with 20 labels and 0.90 with 60 (docs/statistics.md).
    """
    if scored.units == 1:
        return (f"One {scored.unit} alone says nothing about chance: no intervals.",)
    found = []
    if few_groups(scored.unit, scored.units):
        found.append(f"Few groups ({scored.units}): intervals are rough.")
    labels = scored.columns.shape[2] // 3
    if scored.metric == "macro_f1" and labels > MANY_LABELS:
        found.append(f"Many labels ({labels}): intervals of macro F1 are too narrow.")
    return tuple(found)
