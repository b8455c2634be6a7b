"""Places of trials by the other metrics: metrics that disagree are said."""

from collections.abc import Sequence

from loratory.reports.comparison_report import ScoredTrial
from loratory.reports.ranking import sign
from loratory.reports.trade_offs import MetricRanks
from loratory.spaces.metric_names import METRICS, Direction


def metric_ranks(
    scored: Sequence[ScoredTrial],
    *,
    metric: str,
    direction: Direction,
    may_be_best: Sequence[str],
    published: str | None,
) -> tuple[MetricRanks, ...]:
    """Rank trials by every metric whose direction is known, the study's first; not by one equal for all.

    Args:
        scored: trials and trainings anew.
        metric: the study's metric.
        direction: which of its values are better.
        may_be_best: keys of the trials that may be the best by it.
        published: key of the trial that is published.
    """
    names = dict.fromkeys((metric, *(name for trial in scored for name in trial.metrics)))
    keys = tuple(may_be_best) or ((published,) if published else ())
    found = []
    for name in names:
        better = direction if name == metric else METRICS[name].direction if name in METRICS else None
        held = [trial for trial in scored if name in trial.metrics]
        told_apart = name == metric or len({trial.metrics[name] for trial in held}) > 1
        if better is not None and held and told_apart:
            found.append(_ranked(held, name, better, keys))
    return tuple(found)


def _ranked(held: Sequence[ScoredTrial], name: str, direction: Direction, keys: Sequence[str]) -> MetricRanks:
    values = {trial.key: sign(direction) * trial.metrics[name] for trial in held}
    ordered = sorted(values.values(), reverse=True)
    places: dict[float, int] = {}
    for place, value in enumerate(ordered, start=1):
        places.setdefault(value, place)
    first = [trial for trial in held if values[trial.key] == ordered[0]]
    return MetricRanks(
        metric=name,
        direction=direction,
        trials=len(held),
        first=tuple(trial.key for trial in first),
        first_shown=tuple(trial.shown for trial in first),
        first_may_be_best=all(trial.key in keys for trial in first),
        ranks={key: places[values[key]] for key in keys if key in values},
    )
