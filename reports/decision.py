"""`loratory decide`: is one adapter better than another?"""

from typing import Any, NamedTuple

from loratory.objectives.records import TrialState
from loratory.objectives.scores import ScoreTable
from loratory.objectives.study_folder import BASE, StudyFolder
from loratory.reports import formatting
from loratory.reports.comparison import compare
from loratory.reports.score_files import read_table
from loratory.reports.statistics.paired import Paired, Verdict, paired
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import trial_key


class Contender(NamedTuple):
    """A model with scores on eval.select.

    Attributes:
        name: as messages call it.
        table: its per-example scores.
    """

    name: str
    table: ScoreTable


class Decision(NamedTuple):
    """Two models compared on eval.select.

    Attributes:
        metric: the metric.
        first: the first model.
        second: the second.
        comparison: the comparison.
        picked: name of the one that the search picked on these examples, if it is one of them.
    """

    metric: str
    first: Contender
    second: Contender
    comparison: Paired
    picked: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for programs."""
        found = self.comparison
        return {
            "metric": self.metric,
            "split": "select",
            "first": self.first.name,
            "second": self.second.name,
            "verdict": found.verdict.value,
            "values": list(found.values),
            "gain": found.gain,
            "interval": [found.low, found.high],
            "unit": found.unit,
            "units": found.units,
            "examples": found.examples,
            "examples_needed": found.needed,
            "picked_on_these_examples": self.picked,
        }

    def lines(self) -> list[str]:
        """Return the comparison in sentences."""
        found, first, second = self.comparison, self.first.name, self.second.name
        one, other = map(formatting.score, found.values)
        low, high = formatting.signed(found.low), formatting.signed(found.high)
        units = f"{found.examples:,} examples"
        if found.unit == "group":
            units += f" in {found.units} groups"
        lines = [
            f"{_HEADS[found.verdict].format(first=first, second=second)}: "
            f"{formatting.label(self.metric)} {one} against {other} on select",
            f"gain {formatting.signed(found.gain)} [{low}, {high}], 95%, paired over {units}",
        ]
        return [*lines, *self._what_would_tell(), *self._limits()]

    def _what_would_tell(self) -> list[str]:
        if self.comparison.verdict is not Verdict.CANNOT_TELL:
            return []
        if self.comparison.needed is None:
            return ["their values are equal: no number of examples is known to tell them apart"]
        return [f"some {self.comparison.needed:,} examples would tell a difference of this size"]

    def _limits(self) -> list[str]:
        lines = ["few groups: the interval is rough"] if self.comparison.rough else []
        if self.picked:
            lines.append(f"{self.picked} was picked on these examples, which flatters it: see the report")
        return [*lines, "one training run each: this compares adapters, not their settings"]


_HEADS = {
    Verdict.BETTER: "{first} is better than {second}",
    Verdict.WORSE: "{first} is worse than {second}",
    Verdict.CANNOT_TELL: "cannot tell {first} from {second}",
}


def decide(folder: StudyFolder, first: str, second: str) -> Decision:
    """Compare two models of a study.

    Args:
        folder: the study folder.
        first: number or key of a trial, or `base`.
        second: likewise.

    Raises:
        InputError: no such model, or one without scores.
    """
    spec = folder.read_manifest().spec
    one, other = _contender(folder, first), _contender(folder, second)
    published = _published(folder)
    picked = next((c.name for c in (one, other) if c.name == published), None)
    return _compared(one, other, spec.metric, spec.metric_direction, picked=picked)


def decide_studies(first: StudyFolder, second: StudyFolder) -> Decision:
    """Compare the adapters that two studies publish.

    Raises:
        InputError: the studies have different metrics, examples or signatures, or one has no adapter.
    """
    specs = [folder.read_manifest().spec for folder in (first, second)]
    if specs[0].metric != specs[1].metric:
        raise InputError(
            f"two studies are compared by the same metric; {first.path} has {specs[0].metric}, "
            f"{second.path} {specs[1].metric}"
        )
    contenders = []
    for folder in (first, second):
        if (published := _published(folder)) is None:
            raise InputError(f"{folder.path}: no trial has finished, so there is nothing to compare")
        found = _contender(folder, published.removeprefix("trial "))
        contenders.append(Contender(f"{found.name} of {folder.path}", found.table))
    one, other = contenders
    return _compared(one, other, specs[0].metric, specs[0].metric_direction, picked=None)


def _compared(
    one: Contender, other: Contender, metric: str, direction: Direction, *, picked: str | None
) -> Decision:
    tables = (one.table, other.table)
    if tables[0].example_ids != tables[1].example_ids:
        shared = len(set(tables[0].example_ids) & set(tables[1].example_ids))
        raise InputError(
            f"{one.name} and {other.name} must be scored on the same examples; {shared:,} of "
            f"{len(tables[0].example_ids):,} and {len(tables[1].example_ids):,} are shared"
        )
    signatures = [table.signatures.get(metric, "") for table in tables]
    if signatures[0] != signatures[1]:
        raise InputError(
            f"{one.name} and {other.name} must be scored alike; {metric} was computed as {signatures[0]!r} "
            f"and as {signatures[1]!r}"
        )
    return Decision(metric, one, other, paired(*tables, metric, direction), picked)


def _contender(folder: StudyFolder, name: str) -> Contender:
    """Return a model of a study by the name that a user gave.

    Raises:
        InputError: there is none, or it has no scores.
    """
    if name == BASE:
        table, shown = read_table(folder.score(BASE)), "the base"
        if table is None:
            raise InputError(f"{folder.path}: the untuned base has no scores on select yet")
        return Contender(shown, table)
    key = trial_key(int(name)) if name.isdecimal() else name
    records = {r.key: r for r in (*folder.read_records(), *folder.read_retrained())}
    record = records.get(key)
    if record is None:
        finished = [r.shown for r in records.values() if r.state is TrialState.COMPLETE]
        raise InputError(
            f"{folder.path}: must name a finished trial or `base`, got {name!r}; finished: "
            f"{', '.join(finished) or 'none'}"
        )
    table = read_table(folder.trial(key))
    if record.state is not TrialState.COMPLETE or table is None:
        raise InputError(
            f"{folder.path}: trial {record.shown} has no scores on select ({record.state.value.lower()})"
        )
    return Contender(f"trial {record.shown}", table)


def _published(folder: StudyFolder) -> str | None:
    """Return the name of the trial whose adapter the study publishes; None if none is ranked."""
    winner = compare(folder).winner
    return f"trial {winner.shown}" if winner else None
