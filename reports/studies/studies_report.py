"""Several studies on the same eval, compared by what they publish, as data from which every view is made."""

from typing import Any, Final, Literal

from loratory.objectives.records import TrialState
from loratory.reports.comparison_report import Totals
from loratory.reports.findings import Gain, Interval
from loratory.reports.statistics.paired import Verdict
from loratory.spaces.frozen import Frozen
from loratory.spaces.metric_names import Direction

STUDIES_REPORT_VERSION: Final = 1


class ComparedStudy(Frozen):
    """One study, with the adapter that it publishes."""

    label: str
    """Name of the study, with its folder where another has the same name."""
    folder: str
    """Study folder as it was given."""
    uuid: str
    """Identity of the study."""
    base_model: str | None
    """The base as the study file names it."""
    counts: dict[TrialState, int]
    """Number of trials by state, for every state."""
    provisional: bool
    """True if trials are unfinished, so that another adapter may be published."""
    published: str
    """Key of the trial that is published."""
    published_shown: str
    """Its name for people."""
    why: str
    """Reason for the choice."""
    params: dict[str, Any]
    """Sampled values of that trial."""
    adapter_bytes: int | None
    """Size of its adapter."""
    published_device_seconds: float
    """Device time of its training."""
    base_values: dict[str, float]
    """The metric of the study's untuned base, by split."""
    gains: tuple[Gain, ...]
    """Gains of the published adapter over that base, by split."""
    totals: Totals
    """Time and memory that the whole study took."""


class Difference(Frozen):
    """Two published adapters on the same examples."""

    first: str
    """Label of a study."""
    second: str
    """Label of the study that it is compared with."""
    gain: float
    """By how much the first is better, in either direction of the metric."""
    interval: Interval | None
    """95% interval of the gain, paired over the units; null where these all differ alike."""
    verdict: Verdict
    """`better`, `worse` or `cannot tell`, of the first against the second."""
    examples_needed: int | None
    """Examples that would tell a gain of this size; null where it is told, or zero."""


class ComparedPart(Frozen):
    """The published adapters on examples that all of them answered."""

    split: str
    """`test`, `select`, or `select and confirm`."""
    picked: bool
    """True if the adapters were picked by these examples, which flatters each."""
    examples: int
    """Number of examples."""
    unit: str
    """`example` or `group`."""
    units: int
    """Number of units."""
    rough: bool
    """True if units are so few groups that intervals are rough."""
    values: dict[str, float]
    """The metric by label of the study."""
    base_values: dict[str, float] = {}
    """The metric of each study's untuned base on the same examples, where it was scored there."""
    intervals: dict[str, Interval]
    """95% intervals of the values; empty where the adapters were picked by these examples."""
    differences: tuple[Difference, ...]
    """Each pair of studies; each interval holds for itself."""
    may_be_best: tuple[str, ...] = ()
    """Of three or more studies, those that may have the best adapter, the best value first."""


class StudiesReport(Frozen):
    """The comparison of several studies."""

    studies_report_version: Literal[1] = STUDIES_REPORT_VERSION
    metric: str
    """The metric by which all studies rank."""
    direction: Direction
    """Direction in which it improves."""
    signature: str
    """Details of how it was computed, the same in all studies."""
    studies: tuple[ComparedStudy, ...]
    """The studies in the order given."""
    parts: tuple[ComparedPart, ...]
    """Comparisons, that on test first; notes say where a later run looked at test again."""
    verdict: tuple[str, ...] = ()
    """The comparison in sentences."""
    notes: tuple[str, ...] = ()
    """Sentences on parts that are not compared, and on settings of the evaluation that differ."""
