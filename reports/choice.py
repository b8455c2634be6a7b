"""Which adapter is published: select and confirm together choose among the best trials."""

from collections.abc import Mapping, Sequence

from loratory.objectives.events import Split
from loratory.objectives.manifest import Manifest
from loratory.objectives.records import TrialRecord
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import StudyFolder, confirm_key
from loratory.reports.comparison_report import Choice
from loratory.reports.findings import Interval
from loratory.reports.score_files import DamagedScoresError, ScoreFiles, read_scoring, read_table
from loratory.reports.statistics.candidates import candidates
from loratory.reports.statistics.pooled import confirmed_interval, pool
from loratory.spaces.study import StudySpec

COMPARED = 100
"""Largest rank of a candidate."""

_NO_CONFIRM = "this study has no eval.confirm"
_NO_SCORES = "trials have no scores per example, by which some could be compared on eval.confirm"
_NOT_YET = (
    "not all trials that may be best have scores on eval.confirm; the command that began the study scores "
    "them after the last trial"
)


def select_tables(folder: StudyFolder, ordered: Sequence[TrialRecord]) -> dict[str, ScoreTable]:
    """Read the scores on select of the trials that may be candidates, by key.

    Args:
        folder: the study folder.
        ordered: the ranked trials, best first.

    Raises:
        DamagedScoresError: a file is damaged, so that no choice can be made that holds.
    """
    tables = {record.key: read_table(folder.trial(record.key)) for record in ordered[:COMPARED]}
    return {key: table for key, table in tables.items() if table is not None}


def choose_for_views(
    folder: StudyFolder,
    ordered: Sequence[TrialRecord],
    *,
    manifest: Manifest,
    read: ScoreFiles,
) -> Choice | None:
    """Choose as `choose` does; where damaged scores leave it no choice, select alone chooses, and says so.

    Args:
        folder: the study folder.
        ordered: the ranked trials, best first.
        manifest: its study.json.
        read: scores on select by key.
    """
    # A trial with scores on confirm was a candidate.
    unread = [r.shown for r in ordered if r.key in read.damaged and _is_on_confirm(folder, r)]
    if unread:
        return _uncertain(ordered, f"scores of trial {unread[0]} are damaged, so eval.confirm cannot choose")
    try:
        return choose(folder, ordered, manifest=manifest, tables=read.tables)
    except DamagedScoresError as error:
        place = error.path.relative_to(folder.path).as_posix()
        return _uncertain(ordered, f"{place}, by which eval.confirm would choose, is damaged")


def _is_on_confirm(folder: StudyFolder, record: TrialRecord) -> bool:
    return folder.read_score(confirm_key(record.key)) is not None


def _uncertain(ordered: Sequence[TrialRecord], why: str) -> Choice:
    return _by_select(ordered, why).model_copy(update={"uncertain": True})


def confirm_candidates(
    ordered: Sequence[TrialRecord], tables: Mapping[str, ScoreTable], spec: StudySpec
) -> tuple[str, ...]:
    """Return the keys of the trials that are scored on confirm, best first; at most five.

    Args:
        ordered: the ranked trials, best first.
        tables: their scores on select by key.
        spec: the study.
    """
    kept = [r.key for r in ordered[:COMPARED] if r.adapter is not None and r.adapter.removed is None]
    usable = {key: tables[key] for key in kept if key in tables}
    return candidates(usable, spec.metric, spec.metric_direction, seed=spec.seed)


def choose(
    folder: StudyFolder,
    ordered: Sequence[TrialRecord],
    *,
    manifest: Manifest,
    tables: Mapping[str, ScoreTable],
) -> Choice | None:
    """Choose the trial whose adapter is published; None if no trial is ranked.

    With scores on confirm it is the candidate with the best value over select and confirm together, else the
    best on select.

    Args:
        folder: the study folder.
        ordered: the ranked trials, best first.
        manifest: its study.json.
        tables: scores on select by key, as `select_tables` reads them.

    Raises:
        DamagedScoresError: a file of scores on confirm is damaged.
    """
    if not ordered:
        return None
    if not (manifest.splits or {}).get(Split.CONFIRM.value):
        return _by_select(ordered, _NO_CONFIRM)
    keys = confirm_candidates(ordered, tables, manifest.spec)
    if not keys:
        return _by_select(ordered, _NO_SCORES)
    found = {key: t for key in keys if (t := read_scoring(folder, confirm_key(key))) is not None}
    if len(found) < len(keys):
        return _by_select(ordered, _NOT_YET)
    return _by_pooled(ordered, tables, found, manifest.spec) or _by_select(ordered, _NO_SCORES)


def _by_select(ordered: Sequence[TrialRecord], why: str) -> Choice:
    return Choice(key=ordered[0].key, number=ordered[0].number, why=why)


def _by_pooled(
    ordered: Sequence[TrialRecord],
    select: Mapping[str, ScoreTable],
    confirm: Mapping[str, ScoreTable],
    spec: StudySpec,
) -> Choice | None:
    pooled = pool(select, confirm, spec.metric, spec.metric_direction)
    if pooled is None:
        return None
    found = pooled.both
    values = dict(zip(found.keys, (found.sign * found.values).tolist(), strict=True))
    key, interval = found.keys[found.picked], confirmed_interval(pooled, seed=spec.seed)
    return Choice(
        key=key,
        number=next(record.number for record in ordered if record.key == key),
        candidates=found.keys,
        pooled=values,
        examples=found.examples,
        expected=interval.value if interval else None,
        optimism=interval.optimism if interval else None,
        interval=Interval(low=interval.low, high=interval.high) if interval else None,
        units=pooled.second.units,
        unit=pooled.second.unit,
        why="it has the best value on eval.select and eval.confirm together",
    )
