"""Findings and verdict of a study from its folder, for the report and for views without one."""

from collections.abc import Mapping, Sequence

from loratory.objectives.records import TrialRecord
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, CONFIRM_BASE, TEST_BASE, StudyFolder, confirm_key
from loratory.reports.choice import choose_for_views
from loratory.reports.comparison_report import Choice, ComparisonReport, ScoredTrial
from loratory.reports.comparison_rows import choice_words, picked_line
from loratory.reports.damage import damage_line, damaged_files
from loratory.reports.findings import Findings
from loratory.reports.further_trials import progress_of
from loratory.reports.intervals import Intervals, damaged_scores
from loratory.reports.publish_advice import publish_advice
from loratory.reports.ranking import order, scored_facts
from loratory.reports.score_files import DamagedScoresError, ScoreFiles, read_scoring, read_tables
from loratory.reports.study_findings import Measure, Pair, study_findings
from loratory.reports.verdict import further_line, verdict
from loratory.reports.verdict_file import StudyVerdict
from loratory.spaces.study import StudySpec


def study_verdict(folder: StudyFolder) -> StudyVerdict:
    """Return the verdict of a study, finished or still running.

    Args:
        folder: the study folder; it is only read.

    Raises:
        InputError: there is no study in the folder.
        LoratoryError: a record or scores are damaged, or newer than this loratory.
    """
    manifest = folder.read_manifest()
    spec, direction = manifest.spec, manifest.spec.metric_direction
    trials = folder.read_records()
    ordered = order([*trials, *folder.read_retrained()], direction)
    read = tables_of(folder, ordered)
    facts = [
        scored_facts(
            record,
            metric=spec.metric,
            direction=direction,
            base_value=None,
            found=Intervals(),
            folder=folder,
        )
        for record in ordered
    ]
    choice = choose_for_views(folder, ordered, manifest=manifest, read=read)
    ranking = [ScoredTrial(**fields) for fields in facts]
    found = findings_of(folder, ranking, read, spec, choice=choice, trials=trials)
    words = in_words(
        choice,
        found,
        names={trial.key: trial.shown for trial in ranking},
        metric=spec.metric,
        damaged=damaged_files(folder, read.damaged),
    )
    winner = next((trial for trial in ranking if choice is not None and trial.key == choice.key), None)
    return words.model_copy(
        update={
            "publish": publish_advice(folder, spec, winner),
            "provisional": any(not trial.state.finished for trial in trials),
        }
    )


def verdict_of(report: ComparisonReport) -> StudyVerdict:
    """Return the verdict in a report."""
    names = {trial.key: trial.shown for trial in report.scored}
    words = in_words(
        report.choice, report.findings, names=names, metric=report.study.metric, damaged=report.damaged
    )
    return words.model_copy(update={"publish": report.publish, "provisional": report.provisional})


def in_words(
    choice: Choice | None,
    found: Findings | None,
    *,
    names: Mapping[str, str],
    metric: str,
    damaged: Mapping[str, str],
) -> StudyVerdict:
    """Return a choice and findings with the sentences made of them.

    Args:
        choice: which trial is published.
        found: the findings.
        names: names of trials for people, by key.
        metric: the study's metric.
        damaged: what is wrong with damaged files of scores, by place.
    """
    if choice is None or found is None:
        return StudyVerdict(verdict=verdict_of_scores(None, damaged))
    chosen = choice_words(choice, names=names, metric=metric)
    return StudyVerdict(
        findings=found,
        choice=choice,
        verdict=verdict_of_scores(found, damaged),
        published=" ".join(line for line in (chosen, picked_line(choice, found)) if line),
        further=further_line(found),
    )


def verdict_of_scores(found: Findings | None, damaged: Mapping[str, str]) -> tuple[str, ...]:
    """Return the sentences of the verdict; the last one names damaged files of scores.

    Args:
        found: the findings; None where no trial is ranked.
        damaged: what is wrong with damaged files, by place.
    """
    return (*verdict(found), *([line] if (line := damage_line(damaged)) else []))


def tables_of(folder: StudyFolder, ordered: Sequence[TrialRecord]) -> ScoreFiles:
    """Read per-example scores on select of the base, the trials and the trainings anew, by key.

    Args:
        folder: the study folder.
        ordered: the ranked trials and trainings anew, best first.
    """
    paths = {BASE: folder.score(BASE)} | {record.key: folder.trial(record.key) for record in ordered}
    return read_tables(paths)


def findings_of(
    folder: StudyFolder,
    ranking: Sequence[ScoredTrial],
    read: ScoreFiles,
    spec: StudySpec,
    *,
    choice: Choice | None,
    trials: Sequence[TrialRecord],
) -> Findings | None:
    """Return the findings of a study; None if no trial is ranked.

    Args:
        folder: the study folder.
        ranking: ranked trials and trainings anew, best first.
        read: their scores on select by key, and those of the base.
        spec: the study.
        choice: which of them is published.
        trials: records of the search.
    """
    if choice is None:
        return None
    looks = folder.read_looks()
    tables = read.tables
    look = next((record.key for record in looks if record.trial == choice.key), None)
    sides = {
        "select": (tables.get(choice.key), tables.get(BASE)),
        "confirm": tuple(_readable(folder, key) for key in (confirm_key(choice.key), CONFIRM_BASE)),
        "test": (_readable(folder, look) if look else None, _readable(folder, TEST_BASE)),
    }
    found = study_findings(
        ranking,
        tables,
        Measure(spec.metric, spec.metric_direction, spec.seed),
        published=choice.key,
        against_base={
            split: Pair(winner, base)
            for split, (winner, base) in sides.items()
            if winner is not None and base is not None
        },
        search=progress_of(spec, trials, retrained=len(ranking) > sum(t.key.isdecimal() for t in ranking)),
        choice=choice,
        looks=[name for record in looks if (name := record.shown) is not None],
    )
    if found is None or not read.damaged:
        return found
    damaged = {key: damaged_scores(why) for key, why in read.damaged.items() if key in found.left_out}
    return found.model_copy(update={"left_out": found.left_out | damaged})


def _readable(folder: StudyFolder, key: str) -> ScoreTable | None:
    """Read the scores of a scoring; None where there are none, or where they are damaged."""
    try:
        return read_scoring(folder, key)
    except DamagedScoresError:
        return None
