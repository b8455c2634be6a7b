"""The published adapters of several studies on examples that all of them answered."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from loratory.objectives.scores import ScoreTable
from loratory.reports.findings import Interval
from loratory.reports.statistics.best_set import may_be_best
from loratory.reports.statistics.cautions import few_groups
from loratory.reports.statistics.fixed_interval import fixed_intervals
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.paired import paired
from loratory.reports.statistics.resamples import resamples
from loratory.reports.statistics.scored import Scored, scored
from loratory.reports.studies.studies_report import ComparedPart, Difference
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction


def compared_part(
    tables: Mapping[str, ScoreTable],
    metric: str,
    direction: Direction,
    *,
    split: str,
    picked: bool,
    seed: int,
) -> ComparedPart:
    """Compare models on the same examples.

    Args:
        tables: scores per example by label of the study.
        metric: the metric.
        direction: which values are better.
        split: name of the part.
        picked: whether the models were picked by these examples.
        seed: seed of the resamples.

    Raises:
        InputError: scores cannot be compared, or there is one unit alone.
    """
    found, left_out = scored(tables, metric, direction)
    if found is None or left_out:
        label, reason = next(iter(left_out.items()))
        raise InputError(f"{label} cannot be compared on {split}: {reason}")
    return ComparedPart(
        split=split,
        picked=picked,
        examples=found.examples,
        unit=found.unit,
        units=found.units,
        rough=few_groups(found.unit, found.units),
        values=dict(zip(found.keys, (found.sign * found.values).tolist(), strict=True)),
        intervals={} if picked else _intervals(found),
        differences=tuple(_difference(pair, tables, metric, direction) for pair in combinations(tables, 2)),
        # Of two studies the paired difference says it all, and another critical value might contradict it.
        may_be_best=may_be_best(found, resamples(found.units, seed=seed)).keys if len(tables) > 2 else (),
    )


def _intervals(found: Scored) -> dict[str, Interval]:
    bounds = fixed_intervals(found, jackknife(found))
    lows, highs = (found.within(ends).tolist() for ends in (bounds.low, bounds.high))
    ends = zip(found.keys, lows, highs, strict=True)
    return {key: Interval(low=low, high=high) for key, low, high in ends if low == low and high == high}


def _difference(
    pair: Sequence[str], tables: Mapping[str, ScoreTable], metric: str, direction: Direction
) -> Difference:
    first, second = pair
    found = paired(tables[first], tables[second], metric, direction)
    return Difference(
        first=first,
        second=second,
        gain=found.gain,
        interval=Interval(low=found.low, high=found.high) if found.interval else None,
        verdict=found.verdict,
        examples_needed=found.needed,
    )
