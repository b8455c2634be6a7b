"""What to say beside numbers that are less sure than they look."""

from loratory.reports.statistics.scored import Scored

FEW_GROUPS = 10
MANY_LABELS = 20


def cautions(scored: Scored) -> tuple[str, ...]:
    """Return sentences on the intervals of these scores; none if they can be taken as they are.

    Few groups: Cameron and Miller (2015). Many labels: in simulations intervals of macro F1 hold 0.95 of the
    true values with 20 labels and 0.90 with 60 (docs/statistics.md).
    """
    if scored.units == 1:
        return (f"One {scored.unit} alone says nothing about chance: no intervals.",)
    found = []
    if scored.unit == "group" and scored.units < FEW_GROUPS:
        found.append(f"Few groups ({scored.units}): intervals are rough.")
    labels = scored.columns.shape[2] // 3
    if scored.metric == "macro_f1" and labels > MANY_LABELS:
        found.append(f"Many labels ({labels}): intervals of macro F1 are too narrow.")
    return tuple(found)
