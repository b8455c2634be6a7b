"""Compute the comparison of a study from its folder alone, never from W&B or the Optuna storage."""

from collections.abc import Sequence
from datetime import datetime

from loratory.objectives.manifest import Manifest
from loratory.objectives.records import ScoreRecord, TrialRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import (
    BASE,
    CONFIRM_BASE,
    TEST_BASE,
    StudyFolder,
    confirm_key,
)
from loratory.reports.choice import choose_for_views
from loratory.reports.comparison_report import (
    Choice,
    ComparisonReport,
    ParameterFacts,
    RankedTrial,
    Sample,
    ScoredTrial,
    Scores,
    StudyFacts,
    Totals,
    UnrankedTrial,
)
from loratory.reports.curves import trial_curves
from loratory.reports.damage import damaged_files
from loratory.reports.findings import Interval
from loratory.reports.intervals import GAIN, Intervals, intervals
from loratory.reports.metric_ranks import metric_ranks
from loratory.reports.pareto import pareto_fronts
from loratory.reports.picked import allow_for_picking, chosen_on_confirm
from loratory.reports.publish_advice import publish_advice
from loratory.reports.ranking import order, ranked_trial, sign, unranked_trial, why_unranked
from loratory.reports.retrained import retrained_settings
from loratory.reports.samples import read_predictions, samples
from loratory.reports.score_files import ScoreFiles, read_tables
from loratory.reports.statistics.importance import parameter_importance
from loratory.reports.study_verdict import findings_of, tables_of, verdict_of_scores
from loratory.spaces.metric_names import Direction
from loratory.spaces.study import StudySpec


def compare(folder: StudyFolder) -> ComparisonReport:
    """Compare the trials of a study, finished or still running.

    Args:
        folder: the study folder; it is only read.

    Raises:
        InputError: there is no study in the folder.
        LoratoryError: a record is damaged, or newer than this loratory.
    """
    manifest = folder.read_manifest()
    spec, metric = manifest.spec, manifest.spec.metric
    direction = spec.metric_direction
    records = folder.read_records()
    ordered = order(records, direction)
    every = order([*records, *folder.read_retrained()], direction)
    read = tables_of(folder, every)
    tables, damaged = read.tables, damaged_files(folder, read.damaged)
    scored_base = folder.read_score(BASE)
    found = _intervals(read, every, scored_base, spec)
    base = _scores(scored_base, found, metric)
    choice = choose_for_views(folder, every, manifest=manifest, read=read)
    ranking = _ranking(ordered, metric=metric, direction=direction, base=base, found=found, folder=folder)
    retrained = retrained_settings(
        folder, ranking, metric=metric, direction=direction, base=base, found=found
    )
    scored = _best_first((*ranking, *(retrained.runs if retrained else ())), every)
    findings = findings_of(folder, scored, read, spec, choice=choice, trials=records)
    ranking, retrained = allow_for_picking(ranking, retrained, findings, metric)
    members = [member.key for member in findings.may_be_best] if findings else []
    looks = (record.key for record in folder.read_looks())
    winner = next((trial for trial in scored if choice is not None and trial.key == choice.key), None)
    return ComparisonReport(
        study=_facts(manifest, direction),
        counts={state: sum(record.state is state for record in records) for state in TrialState},
        never_started=sum(record.never_started for record in records),
        ranking=ranking,
        unranked=_unranked(records, metric, direction),
        # Of two trials in the middle the worse one, to never flatter.
        median=ranking[len(ranking) // 2].number if ranking else None,
        base=base,
        test=_outside(folder, (TEST_BASE, *looks), spec),
        choice=choice,
        publish=publish_advice(folder, spec, winner),
        confirm=_confirm(folder, choice, spec),
        findings=findings,
        verdict=verdict_of_scores(findings, damaged),
        damaged=damaged,
        ranks_by_metric=metric_ranks(
            scored,
            metric=metric,
            direction=direction,
            may_be_best=members,
            published=choice.key if choice else None,
        ),
        pareto_fronts=pareto_fronts(scored, direction, may_be_best=members),
        retrained=retrained,
        importance=parameter_importance(records, spec.space, spec.metric_direction, seed=spec.seed),
        curves=trial_curves(folder, records, metric),
        samples=_samples(folder, choice, tables, metric),
        totals=_totals(records),
        uncertainty=found.uncertainty,
        signatures=_signatures(tables, ordered),
        versions=ordered[0].provenance.versions if ordered else {},
    )


def _facts(manifest: Manifest, direction: Direction) -> StudyFacts:
    spec = manifest.spec
    return StudyFacts(
        name=spec.name,
        uuid=manifest.uuid,
        objective=spec.objective.value,
        metric=spec.metric,
        direction=direction,
        base_model=spec.model.base if spec.model else None,
        sampler=spec.sampler.name.value,
        pruner=spec.pruner.name.value,
        seed=spec.seed,
        trials_planned=spec.trials,
        evaluations=spec.evaluation.evaluations,
        created_at=manifest.created_at,
        parameters=tuple(
            ParameterFacts(
                name=name,
                kind=parameter.type,
                log=getattr(parameter, "log", False),
                choices=getattr(parameter, "choices", ()),
            )
            for name, parameter in spec.space.root.items()
        ),
        hashes=manifest.hashes,
    )


def _ranking(
    ordered: Sequence[TrialRecord],
    *,
    metric: str,
    direction: Direction,
    base: Scores | None,
    found: Intervals,
    folder: StudyFolder,
) -> tuple[RankedTrial, ...]:
    return tuple(
        ranked_trial(
            record,
            rank=rank,
            metric=metric,
            direction=direction,
            base_value=base.metrics.get(metric) if base else None,
            found=found,
            folder=folder,
        )
        for rank, record in enumerate(ordered, start=1)
    )


def _unranked(records: Sequence[TrialRecord], metric: str, direction: Direction) -> tuple[UnrankedTrial, ...]:
    return tuple(
        unranked_trial(record, reason, metric=metric, direction=direction)
        for record in records
        if (reason := why_unranked(record)) is not None
    )


def _intervals(
    read: ScoreFiles, every: Sequence[TrialRecord], base: ScoreRecord | None, spec: StudySpec
) -> Intervals:
    metrics = {record.key: record.metrics for record in every}
    if base is not None:
        metrics[BASE] = base.metrics
    return intervals(
        read.tables,
        metrics,
        spec.metric,
        spec.metric_direction,
        base=None if base is None else BASE,
        damaged=read.damaged,
    )


def _signatures(tables: dict[str, ScoreTable], ordered: Sequence[TrialRecord]) -> dict[str, str]:
    keys = [*(record.key for record in ordered[:1]), BASE]
    return next((tables[key].signatures for key in keys if key in tables), {})


def _scores(record: ScoreRecord | None, found: Intervals, metric: str) -> Scores | None:
    if record is None:
        return None
    own = dict(found.of.get(record.key, {}))
    return Scores(
        number=record.number,
        trial=record.trial,
        split=record.split,
        metrics=record.metrics,
        interval=own.get(metric),
        intervals=own,
        no_interval=dict(found.missing.get(record.key, {})),
    )


def _outside(folder: StudyFolder, keys: Sequence[str], spec: StudySpec) -> tuple[Scores, ...]:
    """Return scorings outside any trial, on one split, that have their record."""
    records = {key: record for key in keys if (record := folder.read_score(key)) is not None}
    read = read_tables({key: folder.score(key) for key in records})
    metrics = {key: record.metrics for key, record in records.items()}
    base = next((key for key, record in records.items() if record.trial is None), None)
    found = intervals(
        read.tables, metrics, spec.metric, spec.metric_direction, base=base, damaged=read.damaged
    )
    of_base = None if base is None else records[base].metrics.get(spec.metric)
    return tuple(
        _with_gain(scores, of_base, found.gains.get(key), spec)
        for key, record in records.items()
        if (scores := _scores(record, found, spec.metric)) is not None
    )


def _with_gain(scores: Scores, of_base: float | None, interval: Interval | None, spec: StudySpec) -> Scores:
    """Add the gain over the base; the reason why it has no interval is that of the score."""
    told = {name: why for name, why in scores.no_interval.items() if name != GAIN}
    value = scores.metrics.get(spec.metric)
    gain = None
    if scores.trial is not None and value is not None and of_base is not None:
        gain = sign(spec.metric_direction) * (value - of_base)
    return scores.model_copy(
        update={"no_interval": told, "gain": gain, "gain_interval": interval if gain is not None else None}
    )


def _confirm(folder: StudyFolder, choice: Choice | None, spec: StudySpec) -> tuple[Scores, ...]:
    """Return the scores on eval.confirm of the base and the candidates."""
    if choice is None or not choice.candidates:
        return ()
    scored = _outside(folder, (CONFIRM_BASE, *map(confirm_key, choice.candidates)), spec)
    return tuple(chosen_on_confirm(scores, choice, spec.metric) for scores in scored)


def _best_first(trials: tuple[ScoredTrial, ...], every: Sequence[TrialRecord]) -> tuple[ScoredTrial, ...]:
    """Order trials of the search and trainings anew as their records are."""
    places = {record.key: place for place, record in enumerate(every)}
    return tuple(sorted(trials, key=lambda trial: places[trial.key]))


def _samples(
    folder: StudyFolder, choice: Choice | None, tables: dict[str, ScoreTable], metric: str
) -> tuple[Sample, ...]:
    if choice is None:
        return ()
    best = choice.key
    return samples(
        read_predictions(folder.trial(best)),
        read_predictions(folder.score(BASE)),
        tables=(tables.get(best), tables.get(BASE)),
        metric=metric,
    )


def _totals(records: Sequence[TrialRecord]) -> Totals:
    starts = [datetime.fromisoformat(record.started_at) for record in records if record.started_at]
    ends = [datetime.fromisoformat(record.finished_at) for record in records if record.finished_at]
    return Totals(
        device_seconds=sum(record.resources.gpu_seconds_attributed for record in records),
        elapsed_seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else None,
        peak_memory_bytes=max((record.resources.peak_memory_bytes_pack for record in records), default=0),
        pack_size=max((record.resources.pack_size for record in records), default=1),
        devices=tuple(sorted({record.resources.device for record in records if record.resources.device})),
    )
