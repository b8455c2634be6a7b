"""Models that `decide` and the comparison of studies compare, with their scores per example."""

from typing import NamedTuple

from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, CONFIRM_BASE, StudyFolder, confirm_key
from loratory.reports.choice import COMPARED, choose_for_views
from loratory.reports.comparison_report import Choice
from loratory.reports.ranking import order, why_unranked
from loratory.reports.score_files import read_scoring, read_table, read_tables
from loratory.spaces.errors import InputError
from loratory.spaces.trial import key_of_name, parse_retraining_key


class Contender(NamedTuple):
    """A model with scores.

    Attributes:
        name: as messages call it.
        study: folder of the study that scored it.
        key: key of its trial; `base` for the untuned base.
        select: its per-example scores on eval.select.
        confirm: those on eval.confirm; None if it was not scored there.
        picked: True if its study picked it by these scores: it publishes it, or ranks it first.
    """

    name: str
    study: StudyFolder
    key: str
    select: ScoreTable
    confirm: ScoreTable | None
    picked: bool

    @property
    def settings(self) -> int | None:
        """Number of the trial whose settings it has; None for the base."""
        if self.key == BASE:
            return None
        return parse_retraining_key(self.key)[0] if "/" in self.key else int(self.key)

    def retrained_values(self) -> list[float]:
        """Return the values on eval.select of its settings on new seeds."""
        return [
            record.values[0]
            for record in self.study.read_retrained()
            if record.values
            and why_unranked(record) is None
            and parse_retraining_key(record.key)[0] == self.settings
        ]


def find_record(study: StudyFolder, name: str) -> TrialRecord | None:
    """Return the record of a trial by its number (`11`) or key (`0011`, `confirm/0011-2`); None: no such."""
    key = key_of_name(name)
    records = (*study.read_records(), *study.read_retrained())
    return next((record for record in records if record.key == key), None)


def base_of(study: StudyFolder) -> Contender:
    """Return the untuned base.

    Raises:
        InputError: it has no scores.
    """
    table = read_table(study.score(BASE))
    if table is None:
        raise InputError(f"{study.path}: the untuned base has no scores on select yet")
    return Contender("the base", study, BASE, table, read_scoring(study, CONFIRM_BASE), picked=False)


def trial_of(
    study: StudyFolder, record: TrialRecord, picks: frozenset[str], *, named: bool = False
) -> Contender:
    """Return the model of a trial.

    Args:
        study: its study.
        record: its record.
        picks: keys of the trials that the study picked by their scores, as `picks_of` finds them.
        named: whether its name says of which study it is.

    Raises:
        InputError: it has no scores.
    """
    table = read_table(study.trial(record.key))
    if record.state is not TrialState.COMPLETE or table is None:
        raise InputError(
            f"{study.path}: trial {record.shown} has no scores on select ({record.state.value.lower()})"
        )
    return Contender(
        name=f"trial {record.shown}{f' of {study.path}' if named else ''}",
        study=study,
        key=record.key,
        select=table,
        confirm=read_scoring(study, confirm_key(record.key)),
        picked=record.key in picks,
    )


def published_of(study: StudyFolder, choice: Choice | None) -> Contender:
    """Return the model that a study publishes, named with its study.

    Args:
        study: the study.
        choice: which trial it publishes.

    Raises:
        InputError: no trial has finished.
    """
    if choice is None:
        raise InputError(f"{study.path}: no trial has finished, so there is nothing to compare")
    return trial_of(study, study.read_record(choice.key), frozenset({choice.key}), named=True)


def scores_on_test(model: Contender) -> ScoreTable | None:
    """Return the per-example scores on test of a published model; None if they are another trial's."""
    for record in model.study.read_looks():
        if record.trial == model.key:
            return read_scoring(model.study, record.key)
    return None


def choice_of(study: StudyFolder) -> Choice | None:
    """Return which trial a study publishes, without the rest of its report; None if no trial is ranked."""
    manifest, ordered = study.read_manifest(), _ordered(study)
    read = read_tables({record.key: study.trial(record.key) for record in ordered[:COMPARED]})
    return choose_for_views(study, ordered, manifest=manifest, read=read)


def picks_of(study: StudyFolder) -> frozenset[str]:
    """Return the keys of the trials that a study picked by their scores: the first, and the published one."""
    choice = choice_of(study)
    return frozenset({choice.key, _ordered(study)[0].key} if choice else ())


def _ordered(study: StudyFolder) -> list[TrialRecord]:
    direction = study.read_manifest().spec.metric_direction
    return order([*study.read_records(), *study.read_retrained()], direction)
