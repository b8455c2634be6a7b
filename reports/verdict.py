"""The verdict of a study in a few sentences, the same in every view."""

import math
from collections.abc import Sequence

from loratory.reports import formatting
from loratory.reports.findings import CheapestWithin, Findings, Gain

_MOST_NAMED = 6
"""Of a larger set of trials that may be best only the number and the first are told."""
_NEARLY_HALF = 1.75
_MOST_EXAMPLES = 10
"""Times the examples there are that a user may be told to get."""


def verdict(found: Findings | None) -> tuple[str, ...]:
    """Return the sentences: who may be best, the cheapest that is good enough, the cost, the test.

    Args:
        found: the findings; None where no trial is ranked.
    """
    if found is None:
        return ("No trial is ranked: none has completed with finite scores.",)
    sentences = [_who(found)]
    if found.unit is None or not found.may_be_best:
        sentences.append("Without scores per example nothing tells how sure that is.")
    elif len(found.may_be_best) > 1:
        sentences.append(_what_it_costs(found))
    if gain := _final(found.gains):
        sentences.append(_gain(gain))
    sentences += [line for line in (looks_line(found), *found.cautions, left_out_line(found)) if line]
    return tuple(sentences)


def looks_line(found: Findings) -> str:
    """Return how often test was looked at; empty if it was for the published trial alone, or never."""
    looks, name = found.test_looks, found.published_shown
    if not looks or looks == (name,):
        return ""
    missing = "" if name in looks else f", not yet for trial {name}"
    if len(looks) == 1:
        return f"Test was looked at for trial {looks[0]}{missing}."
    times = "twice" if len(looks) == 2 else f"{len(looks)} times"
    return f"Test was looked at {times}: first for trial {looks[0]}{missing}."


def further_line(found: Findings) -> str:
    """Return how likely more trials change the published file, and what more examples would tell."""
    line = _chance(found)
    if found.detectable_difference is None or not found.value:
        return line
    now, then = (_share_or_amount(found.detectable_difference / root, found.value) for root in (1, 2))
    examples = (
        f"{found.examples:,} examples show four times in five that a trial is worse if it is {now} behind "
        f"the best, four times as many if it is {then} behind."
    )
    return f"{line} {examples}".strip()


def _chance(found: Findings) -> str:
    if found.chance_of_change is None:
        return found.chance_missing
    count, about = found.further_trials, "" if found.chance_is == "exact" else f"{found.chance_is} "
    line = (
        f"{count} further trial{'s' * (count != 1)} would change the published file with a probability of "
        f"{about}{found.chance_of_change:.0%}."
    )
    if found.chance_is == "at most about":
        line += " Trainings on new seeds compete with them."
    return line


def left_out_line(found: Findings) -> str:
    """Return which trials are in no comparison, and why the first of them is not; empty for none."""
    if not found.left_out or found.unit is None:
        return ""
    named = found.first if found.first in found.left_out else next(iter(found.left_out))
    reason, others = found.left_out[named], len(found.left_out) - 1
    first = int(named) if named.isdecimal() else named
    place = ", which has the best value of all" if named == found.first else ""
    more = f"{',' * bool(place)} and {others} other{'s' * (others > 1)}" if others else ""
    return f"Not compared with the others: trial {first}{place}{more} ({reason})."


def _who(found: Findings) -> str:
    name, members = found.published_shown, found.may_be_best
    if found.ranked == 1:
        return f"Trial {name} is the only one that finished."
    if not members:
        return f"Trial {name} has the best value of {found.ranked}."
    if len(members) == 1:
        compared = found.ranked - len(found.left_out)
        if compared == 1:
            return f"Trial {members[0].shown} is the only one that can be compared."
        return f"Trial {members[0].shown} is best of {compared}: no other may be, with 95% confidence."
    if len(members) <= _MOST_NAMED:
        return f"Trials {_listed([member.shown for member in members])} may be best."
    return f"{len(members)} of {found.ranked} trials may be best, trial {members[0].shown} first."


def _what_it_costs(found: Findings) -> str:
    parts = [_cheapest(found, found.cheapest_within[0])] if found.cheapest_within else []
    if found.shortfall is not None:
        most = _share_or_amount(found.shortfall, found.value)
        parts.append(
            f"publishing {found.published_shown} costs at most {most} against the best of them"
            if found.shortfall
            else f"none of them is better than {found.published_shown}"
        )
    text = "; ".join(parts)
    if not text:
        return "What a wrong choice costs is not known."
    return f"{text[0].upper()}{text[1:]}.{_alone_and_at_once(found)}"


def _alone_and_at_once(found: Findings) -> str:
    """Explain how a trial can be within a margin of the best and publishing one can cost more."""
    within = found.cheapest_within[0] if found.cheapest_within else None
    if within is None or within.key is None or found.shortfall is None:
        return ""
    if found.shortfall <= within.margin * abs(found.value):
        return ""
    return (
        f" The {within.margin:.0%} hold for one trial alone; what publishing costs holds for all of them at "
        "once, and is wider for that."
    )


def _cheapest(found: Findings, within: CheapestWithin) -> str:
    margin = f"{within.margin:.0%}"
    if within.key is None:
        return f"none is shown to be within {margin} of the best{_what_would_show(found, within)}"
    if within.key == found.published:
        return f"trial {within.shown} is within {margin} of the best, and the smallest that is shown to be"
    size = _size_beside(within.adapter_bytes, found.published_bytes, found.published_shown)
    return f"trial {within.shown}{size}{',' * bool(size)} is within {margin} of the best"


def _what_would_show(found: Findings, within: CheapestWithin) -> str:
    """Return how many examples would show the cheapest member for which that is a number to be had."""
    needed = within.examples_needed
    if not needed:
        return ""
    real = [key for key, count in needed.items() if count <= _MOST_EXAMPLES * found.examples]
    key = real[0] if real else min(needed, key=lambda name: needed[name])
    member = next((member for member in found.may_be_best if member.key == key), None)
    shown, beside = member.shown if member else key, ""
    if member and key != found.published:
        beside = _size_beside(member.adapter_bytes, found.published_bytes, found.published_shown)
    return f" (some {formatting.about(needed[key])} examples would show it for {shown}{beside})"


def _size_beside(own: int | None, other: int | None, name: str) -> str:
    """Return a clause that compares sizes of adapters where they differ much."""
    if not own or not other or 0.8 < own / other < 1.25:
        return ""
    if own > other:
        return f", which is {own / other:.2g} times the size of {name}"
    if other / own < _NEARLY_HALF:
        return f", which is {1 - own / other:.0%} smaller than {name}"
    ratio = round(other / own)
    return f", which is {'half' if ratio == 2 else f'1/{ratio}'} the size of {name}"


def _final(gains: Sequence[Gain]) -> Gain | None:
    """Return the gain on test, which had no say in the choice, else on confirm, less what the choice adds."""
    by_split = {gain.split: gain for gain in gains}
    return by_split.get("test") or by_split.get("confirm")


def _gain(gain: Gain) -> str:
    within = ""
    if gain.interval:
        low, high = (formatting.score(end) for end in (gain.interval.low, gain.interval.high))
        within = f" [{low}, {high}]"
    return f"On {gain.split}{chose_words(gain)}: {formatting.signed(gain.gain)}{within} over the base."


def chose_words(gain: Gain) -> str:
    """Return a clause on what the choice by a split does to the gain there; empty where it did not choose."""
    if not gain.chose:
        return ""
    if gain.optimism is None:
        return ", which had a say in the choice and flatters it"
    return ", less what the choice by it adds"


def _share_or_amount(amount: float, value: float) -> str:
    """Return an amount as a share of the score where that has a meaning, else in units of the metric."""
    if value > amount:
        return f"{math.ceil(100 * amount / value)}%"
    return formatting.score(amount)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
