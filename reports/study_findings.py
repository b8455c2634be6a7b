"""Compute what a study's scores say of its winner."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from loratory.objectives.scores import ScoreTable
from loratory.reports.comparison_report import Choice, ScoredTrial
from loratory.reports.findings import CheapestWithin, Findings, Gain, Interval, Member
from loratory.reports.further_trials import Search, further_trials
from loratory.reports.statistics import cheapest
from loratory.reports.statistics.best_set import BestSet, may_be_best
from loratory.reports.statistics.cautions import cautions
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.differences import paired_gain
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import picked_interval
from loratory.reports.statistics.power import USUAL_DEVIATION, detectable_difference, paired_deviation
from loratory.reports.statistics.resamples import resampled_values, resamples
from loratory.reports.statistics.scored import Scored, scored
from loratory.spaces.metric_names import Direction

MARGINS = (0.05, 0.1)
"""Shares of the best score that a cheaper adapter may lose."""


class Measure(NamedTuple):
    """The metric by which a study ranks.

    Attributes:
        metric: its name.
        direction: which values are better.
        seed: of the study, for resamples.
    """

    metric: str
    direction: Direction
    seed: int


class Pair(NamedTuple):
    """Per-example scores of the published adapter and of the untuned base on one split."""

    winner: ScoreTable
    base: ScoreTable


def study_findings(
    ranking: Sequence[ScoredTrial],
    tables: Mapping[str, ScoreTable],
    measure: Measure,
    *,
    published: str,
    against_base: Mapping[str, Pair],
    search: Search,
    choice: Choice | None = None,
    looks: Sequence[str] = (),
) -> Findings | None:
    """Compute the findings of a study.

    Args:
        ranking: ranked trials and trainings anew, best first.
        tables: per-example scores on eval.select, by key.
        measure: the metric.
        published: key of the trial that is published.
        against_base: scores beside the base's, by split.
        search: how far the search is.
        choice: how it was chosen; None: by select alone.
        looks: names of the trials that were scored on test, in that order.

    Returns:
        None if no trial is ranked.
    """
    if not ranking:
        return None
    winner = next(trial for trial in ranking if trial.key == published)
    plain = Findings(
        published=published,
        published_shown=winner.shown,
        published_bytes=winner.adapter_bytes,
        ranked=len(ranking),
        value=winner.value,
        first=ranking[0].key,
        test_looks=tuple(looks),
        **further_trials(search),
    )
    of_ranked = {trial.key: tables[trial.key] for trial in ranking if trial.key in tables}
    found, left_out = scored(of_ranked, measure.metric, measure.direction)
    missing = {trial.key: "it has no scores per example" for trial in ranking if trial.key not in tables}
    plain = plain.model_copy(update={"left_out": left_out | missing})
    if found is not None and published in found.keys:
        plain = plain.model_copy(
            update=_compared(found, {t.key: t for t in ranking}, measure.seed, published)
        )
    return plain.model_copy(update={"gains": tuple(_gains(against_base, measure, plain, choice))})


def _compared(
    found: Scored, trials: Mapping[str, ScoredTrial], seed: int, published: str
) -> dict[str, object]:
    drawn = resamples(found.units, seed=seed)
    errors = jackknife(found)
    best = may_be_best(found, drawn)
    flattery = optimism(found, drawn, resampled_values(found, drawn))
    interval = picked_interval(found, errors, flattery)
    shortfall = best.shortfall.get(published)
    return {
        "picked": found.keys[found.picked],
        "interval": Interval(low=interval.low, high=interval.high) if interval else None,
        "optimism": flattery,
        "may_be_best": tuple(_members(found, errors, best, trials, published)),
        "shortfall": shortfall if shortfall is not None and shortfall < float("inf") else None,
        "cheapest_within": tuple(_cheapest(found, errors, trials, margin) for margin in MARGINS)
        if found.units > 1
        else (),
        "detectable_difference": _detectable(found, errors),
        "unit": found.unit,
        "units": found.units,
        "examples": found.examples,
        "cautions": cautions(found),
    }


def _members(
    found: Scored, errors: Deviations, best: BestSet, trials: Mapping[str, ScoredTrial], published: str
) -> list[Member]:
    here = found.keys.index(published)
    members = []
    for key in best.keys:
        place = found.keys.index(key)
        behind, low, high = paired_gain(found, errors, here, place)
        told = key != published and math.isfinite(low) and math.isfinite(high)
        apart = Interval(low=low, high=high) if told else None
        members.append(
            Member(
                key=key,
                shown=trials[key].shown,
                value=trials[key].value,
                behind=behind,
                behind_interval=apart,
                adapter_bytes=trials[key].adapter_bytes,
            )
        )
    return members


def _cheapest(
    found: Scored, errors: Deviations, trials: Mapping[str, ScoredTrial], margin: float
) -> CheapestWithin:
    cost = {key: (_bytes_or_infinite(trials[key]), trials[key].device_seconds) for key in found.keys}
    within = cheapest.cheapest_within(found, errors, cost, margin=margin)
    named = trials[within.key] if within.key else None
    return CheapestWithin(
        margin=margin,
        key=within.key,
        shown=named.shown if named else None,
        adapter_bytes=named.adapter_bytes if named else None,
        examples_needed={} if named else dict(within.examples_needed),
    )


def _bytes_or_infinite(trial: ScoredTrial) -> float:
    """Return the size of an adapter; infinite where it is not known: such a one is never the cheapest."""
    return float("inf") if trial.adapter_bytes is None else trial.adapter_bytes


def _detectable(found: Scored, errors: Deviations) -> float | None:
    """Return the smallest difference that shows; None where one unit says nothing about chance."""
    if found.units < 2:
        return None
    measured = paired_deviation(found, errors)
    deviation = USUAL_DEVIATION if measured is None else measured
    share = detectable_difference(examples=found.examples, trials=len(found.keys), deviation=deviation)
    return share * abs(float(found.values[found.picked]))


def _gains(
    against_base: Mapping[str, Pair], measure: Measure, found: Findings, choice: Choice | None
) -> Iterator[Gain]:
    for split, pair in against_base.items():
        if split == "select" and found.picked not in (found.published, None):
            continue
        gain = _gain(split, pair, measure)
        if gain is None:
            continue
        if split == "select" and found.ranked > 1:
            gain = less_optimism(gain, found.optimism)
        elif split == "confirm" and choice is not None and len(choice.candidates) > 1:
            gain = less_optimism(gain, choice.optimism)
        yield gain


def _gain(split: str, pair: Pair, measure: Measure) -> Gain | None:
    """Return the gain as of an adapter that was named before it was scored; None without a comparison."""
    both, left_out = scored(pair._asdict(), measure.metric, measure.direction)
    if both is None or left_out:
        return None
    gain, low, high = paired_gain(both, jackknife(both), 0, 1)
    interval = Interval(low=low, high=high) if math.isfinite(low) and math.isfinite(high) else None
    return Gain(split=split, gain=gain, interval=interval)


def less_optimism(gain: Gain, optimism: float | None) -> Gain:
    """Take what the choice by a split adds off the gain on it; without an optimism it has no interval."""
    if optimism is None:
        return gain.model_copy(update={"chose": True, "interval": None})
    ends = gain.interval
    return Gain(
        split=gain.split,
        gain=gain.gain - optimism,
        interval=Interval(low=ends.low - optimism, high=ends.high - optimism) if ends else None,
        chose=True,
        optimism=optimism,
    )
