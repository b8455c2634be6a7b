"""What a study found, as pure data: every view (HTML, Markdown, JSON, CSV, terminal) comes from it."""

from typing import Any, Final, Literal

from loratory.objectives.records import FailureKind, TrialState
from loratory.spaces.frozen import Frozen
from loratory.spaces.metric_names import Direction

REPORT_VERSION: Final = 1


class ParameterFacts(Frozen):
    """One searched parameter."""

    name: str
    """Its name."""
    kind: Literal["float", "int", "categorical"]
    """What values it takes."""
    log: bool = False
    """Whether it was sampled on a logarithmic scale."""
    choices: tuple[Any, ...] = ()
    """The values of a categorical."""


class StudyFacts(Frozen):
    """What was compared, and under which rules."""

    name: str
    """Name of the study."""
    uuid: str
    """Identity of the study, whatever its folder is called."""
    objective: str
    """`qlora` or `toy`."""
    metric: str
    """The metric that ranks, on eval.select."""
    direction: Direction
    """Which way the metric is better."""
    base_model: str | None = None
    """The base as the study file names it."""
    sampler: str
    """How points were chosen."""
    pruner: str
    """How hopeless trials were stopped."""
    seed: int
    """Seed of the study."""
    trials_planned: int
    """How many trials the study file asks for."""
    evaluations: int
    """Points of the nominal evaluation grid."""
    created_at: str
    """UTC time at which the study began, ISO 8601."""
    parameters: tuple[ParameterFacts, ...]
    """What was searched, in the study file's order."""
    hashes: dict[str, str] = {}
    """Content hashes of base and data."""


class Interval(Frozen):
    """A bootstrap interval of one trial's score."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""


class TrialFacts(Frozen):
    """What is known of any trial, ranked or not."""

    key: str
    """Names the trial in its study, and its folder."""
    number: int
    """Number in the study."""
    state: TrialState
    """Where it stands."""
    reason: str = ""
    """Why it ended as it did, or why it is not ranked."""
    params: dict[str, Any]
    """Sampled values."""
    seed: int
    """The trial's own seed."""
    attempt: int = 1
    """Attempt that these numbers belong to."""
    evaluations: int = 0
    """Evaluations on eval.dev so far."""
    best_dev_value: float | None = None
    """Best value of the metric on eval.dev."""
    elapsed_seconds: float | None = None
    """Training and evaluation time up to the last evaluation."""
    device: str = ""
    """Device name."""
    device_seconds: float = 0.0
    """Device time, each pack step's time shared by tokens."""
    peak_memory_bytes: int = 0
    """Most memory that the trial's pack held."""
    pack_size: int = 1
    """Most trials that shared its base at once."""


class RankedTrial(TrialFacts):
    """A COMPLETE trial and its place."""

    rank: int
    """Place, from 1; equal values are placed by trial number, the earlier first."""
    value: float
    """The metric on eval.select."""
    interval: Interval | None = None
    """Bootstrap interval of `value`, where per-example scores are kept."""
    gain: float | None = None
    """How much better than the untuned base; positive is better, whatever the direction."""
    metrics: dict[str, float]
    """Every metric on eval.select."""
    best_step: int | None = None
    """Grid index of the checkpoint that was kept."""
    adapter: str | None = None
    """Folder of the adapter, relative to the study folder."""
    adapter_sha256: str | None = None
    """Hash of its weights."""
    adapter_bytes: int | None = None
    """Size of its weights."""


class UnrankedTrial(TrialFacts):
    """A trial without a place: pruned, failed, infeasible, running, or without a finite score."""

    failure: FailureKind | None = None
    """What sort of failure, where it failed."""


class PlotPoint(Frozen):
    """One point of a curve."""

    x: float
    """Grid index, or training tokens seen."""
    y: float
    """Value at that point."""


class TrialCurves(Frozen):
    """How one trial learned."""

    number: int
    """Number of the trial."""
    state: TrialState
    """Where it stands."""
    dev: tuple[PlotPoint, ...]
    """The study's metric on eval.dev, by nominal grid index."""
    loss: tuple[PlotPoint, ...]
    """Training loss by tokens seen, thinned to means of equally many steps."""


class Importance(Frozen):
    """How much each parameter decided whether a trial came out among the best."""

    shares: dict[str, float] = {}
    """Share of each parameter, largest first, adding up to 1; empty where nothing can be said."""
    trials: int = 0
    """Trials that it was computed from."""
    note: str
    """What it rests on, or why there is none."""


class Scores(Frozen):
    """Metrics of a model on one split, outside any trial."""

    number: int | None = None
    """The trial whose adapter was scored; null for the untuned base."""
    split: str
    """`select` or `test`."""
    metrics: dict[str, float]
    """Every metric on the split."""
    interval: Interval | None = None
    """Bootstrap interval of the study's metric."""


class SampleAnswer(Frozen):
    """What one model said to one example."""

    text: str
    """The answer, cut where it is very long."""
    score: float | None = None
    """The example's own score, where the metric has one."""


class Sample(Frozen):
    """One example of eval.select with its answers."""

    example_id: str
    """Id of the example."""
    prompt: str
    """What the model read, cut where it is very long."""
    reference: str
    """The answer wanted, cut where it is very long."""
    best: SampleAnswer
    """The best trial's answer."""
    base: SampleAnswer | None = None
    """The untuned base's answer, where it was scored."""


class Totals(Frozen):
    """What the study took."""

    device_seconds: float
    """Device time of all trials."""
    elapsed_seconds: float | None
    """From the first start to the last end of a trial; null while none has ended."""
    peak_memory_bytes: int
    """Most memory that any pack held."""
    pack_size: int = 1
    """Most trials that trained together on one base."""
    devices: tuple[str, ...]
    """Names of the devices used."""


class Uncertainty(Frozen):
    """How the intervals were made."""

    level: float
    """Share of resamples between the two ends."""
    resamples: int
    """How many."""
    unit: str
    """What was drawn: `example`, or `group` where groups are many enough."""
    units: int
    """How many of them eval.select has."""


class ComparisonReport(Frozen):
    """A study compared."""

    report_version: Literal[1] = REPORT_VERSION
    study: StudyFacts
    counts: dict[TrialState, int]
    """Trials by state; every state is named."""
    ranking: tuple[RankedTrial, ...]
    """COMPLETE trials with finite scores, best first."""
    unranked: tuple[UnrankedTrial, ...]
    """All others, by number."""
    median: int | None = None
    """Number of the trial in the middle of the ranking; of two, the worse."""
    base: Scores | None = None
    """The untuned base on eval.select."""
    test: tuple[Scores, ...] = ()
    """The final scores on the test split: the base (no number), the winner."""
    importance: Importance
    curves: tuple[TrialCurves, ...]
    """Of every trial that has any, by number."""
    samples: tuple[Sample, ...] = ()
    """Examples drawn by hash, so that nobody picked them."""
    totals: Totals
    uncertainty: Uncertainty | None = None
    """Null where no per-example scores are kept."""
    versions: dict[str, str] = {}
    """Package versions on the best trial's worker."""

    @property
    def best(self) -> RankedTrial | None:
        """The trial in first place."""
        return self.ranking[0] if self.ranking else None

    @property
    def median_trial(self) -> RankedTrial | None:
        """The trial in the middle of the ranking."""
        return next((trial for trial in self.ranking if trial.number == self.median), None)

    @property
    def provisional(self) -> bool:
        """Whether trials are unfinished, so that the ranking may change."""
        return any(count for state, count in self.counts.items() if not state.finished)
