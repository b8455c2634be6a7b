"""`loratory decide`: is one adapter better than another?"""

import math
from pathlib import Path
from typing import Any, NamedTuple

from loratory.objectives.records import TrialRecord, TrialState
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports.adapter_search import find_adapter
from loratory.reports.common_scores import check_confirm, common_scores
from loratory.reports.contenders import (
    Contender,
    base_of,
    choice_of,
    find_record,
    picks_of,
    published_of,
    trial_of,
)
from loratory.reports.statistics.paired import Paired, paired
from loratory.reports.statistics.settings import USUAL_SEED_DEVIATION, seeds_needed, summarise
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction

PUBLISHED = "published"
"""Name by which a user may ask for the adapter that a study publishes."""


class Seeds(NamedTuple):
    """Seeds that would tell a difference of the same size between the settings of two adapters.

    Attributes:
        needed: seeds of each.
        deviation: standard deviation over seeds, in units of the metric.
        measured: True if it was measured on retrained settings of both, False if it is the usual one.
    """

    needed: int
    deviation: float
    measured: bool


class Decision(NamedTuple):
    """Two models compared on the same examples.

    Attributes:
        metric: the metric.
        split: `select`, or `select and confirm` where both were scored there.
        why_select: why confirm has no part in it; may be empty.
        first: the first model.
        second: the second.
        comparison: the comparison.
        seeds: what would tell their settings apart; None for the base, for the same settings, and for equal
            values.
    """

    metric: str
    split: str
    why_select: str
    first: Contender
    second: Contender
    comparison: Paired
    seeds: Seeds | None

    @property
    def picked(self) -> tuple[str, ...]:
        """Names of those that were picked on these examples, which flatters them."""
        return tuple(each.name for each in (self.first, self.second) if each.picked)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for programs."""
        found = self.comparison
        return {
            "metric": self.metric,
            "split": self.split,
            "why_select_alone": self.why_select or None,
            "first": self.first.name,
            "second": self.second.name,
            "verdict": found.verdict.value,
            "values": list(found.values),
            "gain": found.gain,
            "interval": list(found.interval) if found.interval else None,
            "unit": found.unit,
            "units": found.units,
            "examples": found.examples,
            "examples_needed": found.needed,
            "seeds_needed": self.seeds.needed if self.seeds else None,
            "seed_deviation": self.seeds.deviation if self.seeds else None,
            "seed_deviation_measured": self.seeds.measured if self.seeds else None,
            "picked_on_these_examples": list(self.picked),
        }


def decide(folder: StudyFolder, first: str, second: str) -> Decision:
    """Compare two models of a study, or of another study that scored the same examples.

    Args:
        folder: the study folder; its metric is compared.
        first: number or key of a trial, `base`, `published`, or the folder of an adapter that a study has
            scored.
        second: likewise.

    Raises:
        InputError: no such model, one without scores, scores of other examples, or the same model twice.
    """
    spec = folder.read_manifest().spec
    sides = _find(folder, first), _find(folder, second)
    picks = {path: picks_of(StudyFolder(path)) for path in {study.path for study, _ in sides}}
    one, other = (_contender(study, record, picks[study.path], folder) for study, record in sides)
    return _compared(one, other, spec.metric, spec.metric_direction)


def decide_studies(first: StudyFolder, second: StudyFolder) -> Decision:
    """Compare the adapters that two studies publish.

    Raises:
        InputError: the studies have different metrics, splits or signatures, or one has no adapter.
    """
    specs = [folder.read_manifest().spec for folder in (first, second)]
    if specs[0].metric != specs[1].metric:
        raise InputError(
            f"two studies are compared by the same metric; {first.path} has {specs[0].metric}, "
            f"{second.path} {specs[1].metric}"
        )
    models = published_of(first, choice_of(first)), published_of(second, choice_of(second))
    check_confirm(models, specs[0].metric)
    return _compared(*models, specs[0].metric, specs[0].metric_direction)


def _compared(one: Contender, other: Contender, metric: str, direction: Direction) -> Decision:
    if (one.key, one.study.path.resolve()) == (other.key, other.study.path.resolve()):
        raise InputError(f"decide compares two adapters, got {one.name} twice")
    common = common_scores((one, other), metric)
    first, second = common.tables
    found = paired(first, second, metric, direction)
    return Decision(
        metric=metric,
        split=common.split,
        why_select=common.why_select,
        first=one,
        second=other,
        comparison=found,
        seeds=_seeds(one, other, found),
    )


def _seeds(one: Contender, other: Contender, found: Paired) -> Seeds | None:
    """Return the seeds that would tell the gain apart, were it one of settings."""
    same = one.study.path.resolve() == other.study.path.resolve() and one.settings == other.settings
    if None in (one.settings, other.settings) or same:
        return None
    usual = USUAL_SEED_DEVIATION * max(map(abs, found.values))
    summaries = [summarise(values) for each in (one, other) if (values := each.retrained_values())]
    measured = [summary.sd for summary in summaries if summary.sd is not None]
    both = len(measured) == 2
    deviation = math.hypot(*measured) / math.sqrt(2) if both else usual
    needed = seeds_needed(found.gain, deviation)
    return None if needed is None else Seeds(needed, deviation, both)


def _contender(
    study: StudyFolder, record: TrialRecord | None, picks: frozenset[str], asked: StudyFolder
) -> Contender:
    """Return the model of a record, None for the base, with its study's name where that is not the asked one.

    Raises:
        InputError: it has no scores.
    """
    if record is None:
        return base_of(study)
    return trial_of(study, record, picks, named=study.path.resolve() != asked.path.resolve())


def _find(folder: StudyFolder, name: str) -> tuple[StudyFolder, TrialRecord | None]:
    """Return the study and the record of a model by the name that a user gave; None is the base.

    Raises:
        InputError: there is none.
    """
    if name.lower() == BASE:
        return folder, None
    if name.lower() == PUBLISHED and (choice := choice_of(folder)) is not None:
        return folder, folder.read_record(choice.key)
    if (record := find_record(folder, name)) is not None:
        return folder, record
    # A name that walks out of the study (`..`) is no key, and a folder only if it is there.
    if Path(name).is_dir():
        return find_adapter(Path(name), folder)
    records = (*folder.read_records(), *folder.read_retrained())
    finished = [each.shown for each in records if each.state is TrialState.COMPLETE]
    raise InputError(
        f"{folder.path}: must name a finished trial or `base`, got {name!r}; finished: "
        f"{', '.join(finished) or 'none'}; `{PUBLISHED}` is what the study publishes; or the folder of an "
        "adapter"
    )
