"""Words and rows on several studies that all views share."""

from collections.abc import Sequence
from typing import Final

from loratory.reports import formatting
from loratory.reports.common_scores import BOTH
from loratory.reports.decision_words import HEADS
from loratory.reports.statistics.paired import Verdict
from loratory.reports.studies.studies_report import ComparedPart, ComparedStudy, Difference, StudiesReport

TIMES: Final = formatting.TIMES
"""Sentence that explains the times in the facts."""
LIMIT: Final = (
    "One training run each: this compares the published adapters, not settings, bases or searches. Another "
    "run of the same study would publish another adapter."
)
"""Limit of every comparison of studies, in a sentence for all views."""


_LONGEST: Final = 300
"""Characters of a foreign text that views show."""


def studies_verdict(report: StudiesReport) -> tuple[str, ...]:
    """Return a sentence per part: which study's adapter is better, or which may be the best."""
    return tuple(_told(report, part) for part in report.parts)


def part_note(part: ComparedPart) -> str:
    """Return a sentence on the examples of a part and on what its intervals say."""
    groups = f" in {part.units} groups" if part.unit == "group" else ""
    note = (
        f"{part.examples:,} examples{groups}; differences are paired over {part.unit}s, with 95% intervals."
    )
    if part.rough:
        note += " Few groups: the intervals are rough."
    if len(part.differences) > 1:
        note += " Each interval holds for itself, not all of them at once."
    if part.picked:
        note += (
            " Each adapter was picked by these examples, which flatters it, and more so among more trials: "
            "single values have no interval here."
        )
    return note


def fact_rows(report: StudiesReport) -> list[list[str]]:
    """Return rows of facts: the name of each, then a cell per study."""
    facts = {
        "base": [study.base_model or "–" for study in report.studies],
        "trials": [_trials(study) for study in report.studies],
        "published": [f"trial {study.published_shown}" for study in report.studies],
        "its values": [_params(study) for study in report.studies],
        "size of its adapter": [formatting.size(study.adapter_bytes) for study in report.studies],
        "its device time": [formatting.duration(s.published_device_seconds) for s in report.studies],
        "device time of all trials": [formatting.duration(s.totals.device_seconds) for s in report.studies],
        "from first start to last end": [
            formatting.duration(s.totals.elapsed_seconds) for s in report.studies
        ],
        "most memory of a pack": [formatting.size(s.totals.peak_memory_bytes) for s in report.studies],
        "devices": [", ".join(study.totals.devices) or "–" for study in report.studies],
    }
    return [[name, *(cell[:_LONGEST] for cell in cells)] for name, cells in facts.items()]


def value_rows(report: StudiesReport, part: ComparedPart) -> list[list[str]]:
    """Return a row per study: label, value with its interval, untuned base, gain over it."""
    return [
        [
            study.label,
            _with_interval(formatting.score(part.values[study.label]), part, study.label),
            formatting.score(part.base_values.get(study.label)),
            _gain(study, _gain_split(part)),
        ]
        for study in report.studies
    ]


def value_heads(report: StudiesReport, part: ComparedPart) -> list[str]:
    """Return the headings of `value_rows`."""
    own = _gain_split(part)
    less = ", less what the choice by it adds" if part.picked else ""
    return [
        "study",
        f"{formatting.label(report.metric)} on {part.split}",
        f"base on {part.split}",
        f"gain on {own}{less}",
    ]


DIFFERENCE_HEADS: Final = ("compared", "difference", "95% interval", "verdict", "examples that would tell")
"""Headings of `difference_rows`."""


def difference_rows(part: ComparedPart) -> list[list[str]]:
    """Return a row per pair of studies."""
    return [
        [
            f"{found.first} against {found.second}",
            formatting.signed(found.gain),
            _ends(found, " to ") or "–",
            found.verdict.value,
            "–" if found.examples_needed is None else formatting.about(found.examples_needed),
        ]
        for found in part.differences
    ]


def _told(report: StudiesReport, part: ComparedPart) -> str:
    if len(report.studies) > 2:
        return _of_many(part)
    (found,) = part.differences
    return _of_two(report, part, found)


def _of_two(report: StudiesReport, part: ComparedPart, found: Difference) -> str:
    names = {study.label: f"{study.label} (trial {study.published_shown})" for study in report.studies}
    head = HEADS[found.verdict].format(first=names[found.first], second=names[found.second])
    values = (formatting.score(part.values[label]) for label in (found.first, found.second))
    within = f" [{ends}]" if (ends := _ends(found, ", ")) else " (no interval: all differ alike)"
    text = (
        f"On {part.split}: {head}, {formatting.label(report.metric)} {' against '.join(values)}, "
        f"{formatting.signed(found.gain)}{within}."
    )
    if found.verdict is Verdict.CANNOT_TELL and found.examples_needed is not None:
        text += (
            f" Some {formatting.about(found.examples_needed)} examples would tell a difference of this size."
        )
    return text


def _ends(found: Difference, between: str) -> str:
    if found.interval is None:
        return ""
    return between.join(map(formatting.signed, (found.interval.low, found.interval.high)))


def _of_many(part: ComparedPart) -> str:
    best = part.may_be_best
    count = len(part.values)
    if len(best) == 1:
        return f"On {part.split}: {best[0]} has the best adapter of {count}: no other may be."
    return f"On {part.split}: of {count} studies {_listed(best)} may have the best adapter."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _trials(study: ComparedStudy) -> str:
    unfinished = "; not finished" if study.provisional else ""
    return f"{formatting.counts(study.counts)}{unfinished}"


def _params(study: ComparedStudy) -> str:
    return ", ".join(f"{name} {formatting.parameter(value)}" for name, value in study.params.items())


def _gain_split(part: ComparedPart) -> str:
    """Return the split on which the gain over the base is told: select and confirm together have none."""
    return "confirm" if part.split == BOTH else part.split


def _with_interval(value: str, part: ComparedPart, label: str) -> str:
    interval = part.intervals.get(label)
    if interval is None:
        return value
    return f"{value} [{formatting.score(interval.low)}, {formatting.score(interval.high)}]"


def _gain(study: ComparedStudy, split: str) -> str:
    gain = next((gain for gain in study.gains if gain.split == split), None)
    if gain is None:
        return "–"
    ends = gain.interval
    within = f" [{formatting.signed(ends.low)}, {formatting.signed(ends.high)}]" if ends else ""
    return f"{formatting.signed(gain.gain)}{within}"
