"""Settings that were trained again on new seeds, summarised for the report, apart from the ranking."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import (
    RankedTrial,
    Retrained,
    RetrainedSettings,
    RetrainedTrial,
    Scores,
    UnrankedTrial,
)
from loratory.reports.findings import Interval
from loratory.reports.intervals import Intervals
from loratory.reports.ranking import scored_facts, sign, unranked_trial, why_unranked
from loratory.reports.statistics.settings import LEVEL, places, summarise
from loratory.spaces.metric_names import Direction, within_range
from loratory.spaces.trial import parse_retraining_key


def retrained_settings(
    folder: StudyFolder,
    ranking: Sequence[RankedTrial],
    *,
    metric: str,
    direction: Direction,
    base: Scores | None,
    found: Intervals,
) -> Retrained | None:
    """Summarise the trainings on new seeds; None if there are none.

    Args:
        folder: the study folder.
        ranking: the trials of the search.
        metric: the study's metric.
        direction: which values are better.
        base: scores of the untuned base, if it was scored.
        found: intervals on eval.select.
    """
    records = folder.read_retrained()
    if not records:
        return None
    base_value = base.metrics.get(metric) if base else None
    ranked = {trial.number: trial for trial in ranking}
    trained = []
    for number, group in groupby(records, key=lambda record: parse_retraining_key(record.key)[0]):
        runs, unscored = _trainings(
            group, folder, metric=metric, direction=direction, base_value=base_value, found=found
        )
        trained.append(_settings(number, runs, unscored, ranked.get(number), metric))
    after = places({s.number: s.mean for s in trained if s.mean is not None}, sign=sign(direction))
    placed = [s.model_copy(update={"rank_after": after.get(s.number)}) for s in trained]
    return Retrained(
        level=LEVEL,
        settings=tuple(sorted(placed, key=lambda s: s.rank_after or len(placed) + 1)),
        device_seconds=sum(record.resources.gpu_seconds_attributed for record in records),
    )


def _trainings(
    records: Iterable[TrialRecord],
    folder: StudyFolder,
    *,
    metric: str,
    direction: Direction,
    base_value: float | None,
    found: Intervals,
) -> tuple[tuple[RetrainedTrial, ...], tuple[UnrankedTrial, ...]]:
    """Return the trainings of the same settings that have a score, then the others."""
    runs, unscored = [], []
    for record in records:
        reason = why_unranked(record)
        if reason is not None:
            unscored.append(unranked_trial(record, reason, metric=metric, direction=direction))
            continue
        facts = scored_facts(
            record, metric=metric, direction=direction, base_value=base_value, found=found, folder=folder
        )
        runs.append(RetrainedTrial(**facts, index=parse_retraining_key(record.key)[1]))
    return tuple(runs), tuple(unscored)


def _settings(
    number: int,
    runs: tuple[RetrainedTrial, ...],
    unscored: tuple[UnrankedTrial, ...],
    before: RankedTrial | None,
    metric: str,
) -> RetrainedSettings:
    facts = RetrainedSettings(
        number=number,
        params=(*runs, *unscored)[0].params,
        rank_before=before.rank if before else None,
        value_before=before.value if before else None,
        runs=runs,
        unscored=unscored,
    )
    if not runs:
        return facts
    found = summarise([run.value for run in runs])
    following = None
    if found.next_low is not None and found.next_high is not None:
        low, high = within_range(metric, found.next_low, found.next_high)
        following = Interval(low=low, high=high)
    names = ("values", "mean", "sd", "low", "high")
    return facts.model_copy(
        update={**{name: getattr(found, name) for name in names}, "next_training": following}
    )
