"""A decision in sentences."""

from typing import Final

from loratory.reports import formatting
from loratory.reports.decision import Decision, Seeds
from loratory.reports.statistics.cautions import unchecked
from loratory.reports.statistics.paired import Paired, Verdict
from loratory.spaces.command_line import command

HEADS: Final = {
    Verdict.BETTER: "{first} is better than {second}",
    Verdict.WORSE: "{first} is worse than {second}",
    Verdict.CANNOT_TELL: "cannot tell {first} from {second}",
}
"""Beginning of the first sentence, by verdict."""


def decision_lines(decision: Decision) -> list[str]:
    """Return the comparison in sentences: the verdict, the gain, what would tell, and the limits."""
    found, metric = decision.comparison, formatting.label(decision.metric)
    head = HEADS[found.verdict].format(first=decision.first.name, second=decision.second.name)
    one, other = map(formatting.score, found.values)
    return [
        f"{head}: {metric} {one} against {other} on {decision.split}",
        gain_line(found),
        *([decision.why_select] if decision.why_select else []),
        *what_would_tell(found),
        *_limits(decision),
    ]


def gain_line(found: Paired) -> str:
    """Return the paired difference with its interval and its units."""
    if found.interval is None:
        why = "all differ alike, which says nothing about chance"
        return f"gain {formatting.signed(found.gain)}, without an interval: {units(found)} {why}"
    low, high = (formatting.signed(end) for end in found.interval)
    return f"gain {formatting.signed(found.gain)} [{low}, {high}], 95%, paired over {units(found)}"


def units(found: Paired) -> str:
    """Return the number of examples, and of groups where these are the units."""
    groups = f" in {found.units} groups" if found.unit == "group" else ""
    return f"{found.examples:,} examples{groups}"


def what_would_tell(found: Paired) -> list[str]:
    """Return how many examples would tell the difference; nothing where it is told."""
    if found.verdict is not Verdict.CANNOT_TELL:
        return []
    if found.needed is None:
        equal = "their values are equal: " if not found.gain else ""
        return [f"{equal}no number of examples is known to tell them apart"]
    return [f"some {formatting.about(found.needed)} examples would tell a difference of this size"]


def _limits(decision: Decision) -> list[str]:
    lines = ["few groups: the interval is rough"] if decision.comparison.rough else []
    if untested := unchecked(decision.metric, formatting.label(decision.metric)):
        lines.append(f"{untested[0].lower()}{untested[1:].removesuffix('.')}")
    if len(decision.picked) == 1:
        lines.append(f"{decision.picked[0]} was picked on these examples, which flatters it: see the report")
    elif decision.picked and decision.first.study.path == decision.second.study.path:
        both = " and ".join(decision.picked)
        lines.append(f"{both} were picked on these examples, which flatters them: see the report")
    elif decision.picked:
        lines += [
            "each was picked on these examples, which flatters it, and more so among more trials",
            f"for test too: {command('report', decision.first.study.path, decision.second.study.path)}",
        ]
    lines.append("one training run each: this compares adapters, not their settings")
    return [*lines, *(_seeds(decision, decision.seeds) if decision.seeds else [])]


def _seeds(decision: Decision, seeds: Seeds) -> list[str]:
    told = f"{_seeds_of_each(seeds)} would tell a difference of this size between settings"
    deviation = formatting.score(seeds.deviation)
    if seeds.measured:
        return [f"{told}: their scores vary by {deviation} over new seeds"]
    return [
        f"{told}, if scores vary by {deviation} over seeds as is usual",
        f"to measure that: {command('confirm', decision.first.study.path)}",
    ]


def _seeds_of_each(seeds: Seeds) -> str:
    return f"{formatting.about(seeds.needed)} seeds of each"
