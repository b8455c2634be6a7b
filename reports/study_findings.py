"""Compute what a study's scores say of its winner."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loratory.objectives.scores import ScoreTable
from loratory.reports.comparison_report import ScoredTrial
from loratory.reports.findings import CheapestWithin, Findings, Gain, Interval, Member
from loratory.reports.statistics import cheapest
from loratory.reports.statistics.best_set import BestSet, may_be_best
from loratory.reports.statistics.cautions import cautions
from loratory.reports.statistics.deviations import Deviations
from loratory.reports.statistics.differences import paired_gain
from loratory.reports.statistics.further_search import chance_of_change
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.optimism import optimism
from loratory.reports.statistics.picked_interval import picked_interval
from loratory.reports.statistics.power import USUAL_DEVIATION, detectable_difference, paired_deviation
from loratory.reports.statistics.resamples import resampled_values, resamples
from loratory.reports.statistics.scored import Scored, scored
from loratory.spaces.metric_names import Direction
from loratory.spaces.samplers import SamplerName

MARGINS = (0.05, 0.1)
"""Shares of the best score that a cheaper adapter may lose."""
FURTHER_TRIALS = 8
"""Size of a further batch, whose chance to change the published file is told."""


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


class Search(NamedTuple):
    """Progress of a search.

    Attributes:
        sampler: how points are chosen.
        tried: trials so far, those that were stopped or failed among them.
    """

    sampler: SamplerName
    tried: int


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
        gains=tuple(_gains(against_base, measure)),
        test_looks=tuple(looks),
        further_trials=FURTHER_TRIALS,
        chance_of_change=chance_of_change(tried=search.tried, further=FURTHER_TRIALS, sampler=search.sampler),
    )
    of_ranked = {trial.key: tables[trial.key] for trial in ranking if trial.key in tables}
    found, left_out = scored(of_ranked, measure.metric, measure.direction)
    missing = {trial.key: "it has no scores per example" for trial in ranking if trial.key not in tables}
    plain = plain.model_copy(update={"left_out": left_out | missing})
    if found is None or published not in found.keys:
        return plain
    return plain.model_copy(update=_compared(found, {t.key: t for t in ranking}, measure.seed, published))


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
        apart = Interval(low=low, high=high) if key != published and found.units > 1 else None
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


def _gains(against_base: Mapping[str, Pair], measure: Measure) -> list[Gain]:
    gains = []
    for split, pair in against_base.items():
        found, left_out = scored(pair._asdict(), measure.metric, measure.direction)
        if found is None or left_out:
            continue
        gain, low, high = paired_gain(found, jackknife(found), 0, 1)
        interval = Interval(low=low, high=high) if found.units > 1 else None
        gains.append(Gain(split=split, gain=gain, interval=interval))
    return gains
