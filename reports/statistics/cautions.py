"""Warnings on intervals that are less reliable than their level says."""

from loratory.reports.statistics.aggregates import is_corpus_metric
from loratory.reports.statistics.scored import Scored
from loratory.spaces.metric_names import METRICS

FEW_GROUPS = 10
MANY_LABELS = 20
_CHECKED_CORPUS = ("bleu", "macro_f1")


def few_groups(unit: str | None, units: int) -> bool:
    """Return whether units are so few groups that intervals are rough (Cameron and Miller, 2015)."""
    return unit == "group" and units < FEW_GROUPS


def unchecked(metric: str, label: str) -> str:
    """Return a sentence on a metric whose intervals no simulation has checked; empty for the others.

    Checked are means of scores between 0 and a limit, right or wrong, corpus BLEU and macro F1.
    """
    known = METRICS.get(metric)
    checked = known is not None and known.largest is not None
    if checked and (not is_corpus_metric(metric) or metric in _CHECKED_CORPUS):
        return ""
    return f"Intervals of {label} were not checked by simulation (docs/statistics.md)."


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
