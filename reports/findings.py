"""Findings on the published adapter, as data from which every view is made."""

from typing import Literal

from loratory.spaces.frozen import Frozen


class Interval(Frozen):
    """An interval of a score or of a difference between two."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""


class Member(Frozen):
    """A trial that may be the best."""

    key: str
    """Name of the trial in its study."""
    shown: str
    """Name of the trial for people."""
    value: float
    """The metric on eval.select."""
    behind: float
    """By how much it is behind the published trial; negative where it is ahead."""
    behind_interval: Interval | None = None
    """95% interval of `behind`, paired over the units; null for the published trial itself."""
    adapter_bytes: int | None = None
    """Size of its adapter."""


class CheapestWithin(Frozen):
    """The cheapest adapter that is shown to be within a margin of the best."""

    margin: float
    """The margin, as a share of the best score."""
    key: str | None = None
    """The adapter; null if none is shown to be within the margin."""
    shown: str | None = None
    """Its name for people."""
    adapter_bytes: int | None = None
    """Its size."""
    examples_needed: dict[str, int] = {}
    """Examples that would show it, by key, for the trials of the set; empty where one is shown."""


class Gain(Frozen):
    """The published adapter against the untuned base on one split."""

    split: str
    """`select`, `confirm` or `test`."""
    gain: float
    """By how much it is better, in either direction of the metric, less the optimism."""
    interval: Interval | None = None
    """95% interval, paired over the units, less the optimism; null where one unit alone or units that all
    differ alike say nothing about chance, and where nothing tells what the choice by the split adds."""
    chose: bool = False
    """True if the split had a say in the choice of the adapter, which flatters it there."""
    optimism: float | None = None
    """Mean amount by which that choice raises the gain; it was subtracted. Null if the split did not choose,
    or if the amount is unknown."""


class Findings(Frozen):
    """Statements on the published adapter and its rivals, with their uncertainty."""

    published: str
    """Key of the trial that is published."""
    published_shown: str
    """Its name for people."""
    published_bytes: int | None = None
    """Size of its adapter."""
    ranked: int
    """Number of ranked trials."""
    value: float
    """Its metric on eval.select."""
    first: str = ""
    """Key of the trial with the best value on eval.select, even if its scores could not be compared."""
    picked: str | None = None
    """Key of the trial with the best value on eval.select among those whose scores could be compared."""
    interval: Interval | None = None
    """95% interval of the value of the picked trial: the optimism is taken off."""
    optimism: float | None = None
    """By how much the value of the picked trial is too good, because it was picked."""
    may_be_best: tuple[Member, ...] = ()
    """The trials that may be the best, the best value first; empty where nothing tells."""
    shortfall: float | None = None
    """The most by which the best of them may be better than the published one; null if nothing bounds it."""
    cheapest_within: tuple[CheapestWithin, ...] = ()
    """The cheapest adapter within each margin."""
    detectable_difference: float | None = None
    """The smallest difference that the examples tell apart with probability 0.8, in units of the metric."""
    unit: str | None = None
    """`example` or `group`; null where no scores per example are kept."""
    units: int = 0
    """Number of units."""
    examples: int = 0
    """Number of examples."""
    cautions: tuple[str, ...] = ()
    """Sentences on what makes intervals less reliable than their level says, or impossible."""
    left_out: dict[str, str] = {}
    """Trials whose scores could not be compared, with the reason."""
    gains: tuple[Gain, ...] = ()
    """Gains over the base, by split; without select where confirm chose another trial than select alone
    would: nothing tells how much select flatters that one."""
    test_looks: tuple[str, ...] = ()
    """Names of the trials that were scored on test, in that order; each after the first is a further look."""
    further_trials: int = 0
    """Size of a further batch of trials; fewer where a grid has fewer points left, 0 where it has none."""
    chance_of_change: float | None = None
    """Chance that such a batch changes which file is published; null where nothing tells."""
    chance_is: Literal["exact", "about", "at most about"] = "about"
    """`exact` for samplers that do not learn; `about` where the chance was fitted to replays of TPE; `at most
    about` where trainings on new seeds compete with further trials."""
    chance_missing: str = ""
    """Why there is no chance, in a sentence; else empty."""
