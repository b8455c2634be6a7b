"""The result of a study as pure data; every view (HTML, Markdown, JSON, CSV, terminal) is made from it."""

from pathlib import Path
from typing import Any, Final, Literal

from loratory.objectives.records import FailureKind, TrialState
from loratory.reports.associations import Importance
from loratory.reports.findings import Findings, Interval
from loratory.reports.trade_offs import MetricRanks, ParetoFront
from loratory.spaces.command_line import command
from loratory.spaces.frozen import Frozen
from loratory.spaces.metric_names import Direction

REPORT_VERSION: Final = 2


class ParameterFacts(Frozen):
    """One searched parameter."""

    name: str
    """Its name."""
    kind: Literal["float", "int", "categorical"]
    """Type of its values."""
    log: bool = False
    """True if it was sampled on a logarithmic scale."""
    choices: tuple[Any, ...] = ()
    """Values of a categorical parameter."""


class StudyFacts(Frozen):
    """The study and its rules."""

    name: str
    """Name of the study."""
    uuid: str
    """Identity of the study, independent of the name of its folder."""
    objective: str
    """`qlora` or `toy`."""
    metric: str
    """The metric that ranks, on eval.select."""
    direction: Direction
    """Direction in which the metric improves."""
    base_model: str | None = None
    """The base as the study file names it."""
    sampler: str
    """Name of the sampler."""
    pruner: str
    """Name of the pruner."""
    seed: int
    """Seed of the study."""
    trials_planned: int
    """Number of trials in the study file."""
    evaluations: int
    """Points of the nominal evaluation grid."""
    created_at: str
    """UTC time at which the study began, ISO 8601."""
    parameters: tuple[ParameterFacts, ...]
    """The searched parameters in the order of the study file."""
    hashes: dict[str, str] = {}
    """Content hashes of base and data."""


class TrialFacts(Frozen):
    """Facts of any trial, ranked or not."""

    key: str
    """Name of the trial in its study, and of its folder."""
    number: int
    """Number in the study; of a retraining, that of the trial whose settings it has."""
    state: TrialState
    """State of the trial."""
    reason: str = ""
    """Reason why the trial ended, or is not ranked."""
    params: dict[str, Any]
    """Sampled values."""
    seed: int
    """Seed of the trial."""
    attempt: int = 1
    """Attempt that these numbers belong to; 0 for a trial that was given to no worker."""
    evaluations: int = 0
    """Evaluations on eval.dev so far."""
    best_dev_value: float | None = None
    """Best value of the metric on eval.dev."""
    elapsed_seconds: float | None = None
    """Training and evaluation time up to the last evaluation."""
    device: str = ""
    """Device name."""
    device_seconds: float = 0.0
    """Device time; the time of each step of a pack is shared among its trials by tokens."""
    peak_memory_bytes: int = 0
    """Peak memory of the trial's pack."""
    pack_size: int = 1
    """Largest number of trials that shared its base at once."""

    @property
    def shown(self) -> str:
        """Name for people: the number of a trial of the search, the key of a retraining."""
        return self.key if "/" in self.key else str(self.number)


class ScoredTrial(TrialFacts):
    """A COMPLETE trial of the search or retraining: its adapter may be published."""

    value: float
    """The metric on eval.select."""
    interval: Interval | None = None
    """95% interval of `value`; null where `no_interval` says why."""
    picked: bool = False
    """True if it has the best value of all, for which its intervals of `value` and `gain` allow."""
    gain: float | None = None
    """Improvement over the untuned base; positive is better in either direction."""
    gain_interval: Interval | None = None
    """95% interval of `gain`, paired over the units."""
    metrics: dict[str, float]
    """Every metric on eval.select."""
    intervals: dict[str, Interval] = {}
    """95% interval of each metric, as of a trial that was named before it was scored."""
    no_interval: dict[str, str] = {}
    """Why a metric, or the `gain`, has no interval, by name."""
    best_step: int | None = None
    """Grid index of the checkpoint that was kept."""
    adapter: str | None = None
    """Folder of the adapter, relative to the study folder; null if it has none, or none any more."""
    adapter_removed: str | None = None
    """Why the adapter that it kept is not in the study folder any more; null if it is there."""
    adapter_sha256: str | None = None
    """Hash of its weights."""
    adapter_bytes: int | None = None
    """Size of its weights."""


class RankedTrial(ScoredTrial):
    """A COMPLETE trial of the search with its rank."""

    rank: int
    """Rank, from 1; equal values are ranked by trial number, the lower first."""


class RetrainedTrial(ScoredTrial):
    """A COMPLETE training of a trial's settings on a new seed; it has no place in the ranking."""

    index: int
    """Counts the new seeds of these settings, from 1."""


class UnrankedTrial(TrialFacts):
    """A trial without a rank: pruned, failed, infeasible, running, or without a finite score."""

    failure: FailureKind | None = None
    """Kind of failure, if it failed."""


class PlotPoint(Frozen):
    """One point of a curve."""

    x: float
    """Grid index, or training tokens seen."""
    y: float
    """Value at that point."""


class TrialCurves(Frozen):
    """Learning curves of one trial."""

    number: int
    """Number of the trial."""
    state: TrialState
    """State of the trial."""
    dev: tuple[PlotPoint, ...]
    """The study's metric on eval.dev, by nominal grid index."""
    loss: tuple[PlotPoint, ...]
    """Training loss by tokens seen, thinned to means of equally many steps."""


class Scores(Frozen):
    """Metrics of a model on one split, outside any trial."""

    number: int | None = None
    """Number of the trial that the scored adapter is from; null for the untuned base and a retraining."""
    trial: str | None = None
    """Key of that trial; null for the untuned base."""
    split: str
    """`select`, `confirm` or `test`."""
    metrics: dict[str, float]
    """Every metric on the split."""
    gain: float | None = None
    """By how much the study's metric is better than the untuned base's on the split; null for the base, and
    without one. Of the published trial on confirm it is less the optimism."""
    gain_interval: Interval | None = None
    """95% interval of the gain, paired over the units."""
    interval: Interval | None = None
    """95% interval of the study's metric; of the published trial on confirm, which had a say in its choice,
    less the optimism."""
    intervals: dict[str, Interval] = {}
    """95% interval of each metric, as of a model that was named before it was scored."""
    no_interval: dict[str, str] = {}
    """Why a metric has no interval, by name."""

    @property
    def shown(self) -> str | None:
        """Name of the trial for people: its number if it has one, else its key; None for the base."""
        return self.trial if self.number is None else str(self.number)


class RetrainedSettings(Frozen):
    """Settings of a trial that were trained again on new seeds. The trial's own run is in no figure here."""

    number: int
    """Number of the trial whose settings they are."""
    params: dict[str, Any]
    """Their sampled values."""
    rank_before: int | None = None
    """Rank of that trial in the search; null if it has none."""
    value_before: float | None = None
    """Its value on eval.select."""
    rank_after: int | None = None
    """Place among the retrained settings by the mean of the new seeds; null without a score."""
    values: tuple[float, ...] = ()
    """The metric on eval.select of each new seed that has a score."""
    mean: float | None = None
    """Mean of `values`; null without a score."""
    sd: float | None = None
    """Standard deviation of `values`; null with fewer than two."""
    low: float | None = None
    """Lowest of `values`."""
    high: float | None = None
    """Highest of `values`."""
    next_training: Interval | None = None
    """Prediction interval of the next training's value; null with fewer than two values."""
    runs: tuple[RetrainedTrial, ...] = ()
    """Trainings with a score, by index."""
    unscored: tuple[UnrankedTrial, ...] = ()
    """Trainings that failed, diverged or are not finished, by index."""


class Retrained(Frozen):
    """Settings that were trained again on new seeds; they are never tested against each other."""

    level: float
    """Share of prediction intervals that hold the next training's value."""
    settings: tuple[RetrainedSettings, ...]
    """Best mean of the new seeds first."""
    device_seconds: float
    """Device time of all these trainings; the study's totals are without it."""

    @property
    def runs(self) -> tuple[RetrainedTrial, ...]:
        """Every training with a score."""
        return tuple(run for settings in self.settings for run in settings.runs)

    @property
    def provisional(self) -> bool:
        """True if trainings are unfinished."""
        return any(not run.state.finished for settings in self.settings for run in settings.unscored)


class Choice(Frozen):
    """The trial whose adapter is published where nobody names another."""

    key: str
    """Its key."""
    number: int | None = None
    """Its number."""
    candidates: tuple[str, ...] = ()
    """Keys of the trials that were scored on eval.confirm, by their value on eval.select, best first; empty
    where eval.select alone chose."""
    pooled: dict[str, float] = {}
    """The study's metric over eval.select and eval.confirm together, by key of a candidate."""
    examples: int | None = None
    """Number of examples of both parts."""
    expected: float | None = None
    """The metric on eval.confirm without what the choice among the candidates adds to it."""
    optimism: float | None = None
    """Mean amount by which the choice among the candidates raises the value on eval.confirm, in the direction
    in which the metric improves; null if unknown."""
    interval: Interval | None = None
    """Interval of `expected`, 95%, from eval.confirm alone."""
    unit: str | None = None
    """Unit of the interval: `example` or `group`."""
    units: int | None = None
    """Number of units in eval.confirm."""
    why: str
    """Reason for the choice, or why eval.confirm had no part in it."""
    uncertain: bool = False
    """True if damaged scores leave open which trial the study chooses."""


class PublishAdvice(Frozen):
    """How the adapter that the study chose is published."""

    options: tuple[str, ...] = ()
    """Arguments of `loratory publish` after the folder; empty if there is no adapter to publish."""
    note: str = ""
    """A sentence on what to replace in the options, or on why there are none."""

    def command(self, folder: str | Path) -> str | None:
        """Return the command; None if there is no adapter to publish.

        Args:
            folder: the study folder as it was given. Files that are shared do not hold it.
        """
        return command("publish", folder, *self.options) if self.options else None


class SampleAnswer(Frozen):
    """Answer of one model to one example."""

    text: str
    """The answer, cut if it is very long."""
    score: float | None = None
    """Score of the example, if the metric has one."""


class Sample(Frozen):
    """One example of eval.select with its answers."""

    example_id: str
    """Id of the example."""
    prompt: str
    """The prompt, cut if it is very long."""
    reference: str
    """The reference answer, cut if it is very long."""
    best: SampleAnswer
    """The answer of the trial whose adapter is published."""
    base: SampleAnswer | None = None
    """The untuned base's answer, if the base was scored."""


class Totals(Frozen):
    """Time and memory that the study took."""

    device_seconds: float
    """Device time of all trials."""
    elapsed_seconds: float | None
    """Time from the first start to the last end of a trial; null while none has ended."""
    peak_memory_bytes: int
    """Largest peak memory of a pack."""
    pack_size: int = 1
    """Largest number of trials that trained together on one base."""
    devices: tuple[str, ...]
    """Names of the devices used."""


class Uncertainty(Frozen):
    """Method of the intervals on eval.select (docs/statistics.md)."""

    level: float
    """Confidence level."""
    unit: str
    """Unit of resampling: `group` if the data names groups, else `example`."""
    units: int
    """Number of units in eval.select."""
    examples: int
    """Number of examples in eval.select."""
    cautions: tuple[str, ...] = ()
    """Sentences on where intervals are less reliable than their level says."""


class ComparisonReport(Frozen):
    """The comparison of a study's trials."""

    report_version: Literal[2] = REPORT_VERSION
    study: StudyFacts
    counts: dict[TrialState, int]
    """Number of trials by state, for every state."""
    never_started: int = 0
    """Infeasible trials that were predicted to fit no worker, and were given to none."""
    ranking: tuple[RankedTrial, ...]
    """COMPLETE trials with finite scores, best first."""
    unranked: tuple[UnrankedTrial, ...]
    """All others, by number."""
    median: int | None = None
    """Number of the median trial of the ranking; of two middle ones, the worse."""
    base: Scores | None = None
    """The untuned base on eval.select."""
    test: tuple[Scores, ...] = ()
    """The scores on the test split: the base (no number), then each winner in the order of the scorings."""
    choice: Choice | None = None
    """The trial whose adapter is published; null if no trial is ranked."""
    publish: PublishAdvice | None = None
    """How its adapter is published; null if no trial is ranked."""
    confirm: tuple[Scores, ...] = ()
    """The scores on eval.confirm: the base (no number), then the candidates."""
    findings: Findings | None = None
    """Statements on the published adapter, with their uncertainty; null if no trial is ranked."""
    verdict: tuple[str, ...] = ()
    """The findings in sentences."""
    damaged: dict[str, str] = {}
    """Damaged files of scores, which are left out, by place in the study folder, with what is wrong."""
    ranks_by_metric: tuple[MetricRanks, ...] = ()
    """Places of the trials that may be the best by every metric, the study's first."""
    pareto_fronts: tuple[ParetoFront, ...] = ()
    """The study's metric against what an adapter costs; a cost that is not recorded says so."""
    importance: Importance
    retrained: Retrained | None = None
    """Settings that were trained again on new seeds; null if none were."""
    curves: tuple[TrialCurves, ...]
    """Learning curves of every trial that has any, by number."""
    samples: tuple[Sample, ...] = ()
    """Examples chosen by hash, not by hand."""
    totals: Totals
    uncertainty: Uncertainty | None = None
    """Method of the intervals; null if no per-example scores are kept."""
    signatures: dict[str, str] = {}
    """Details of how each metric was computed (tokenizer, case, stemmer, version), by name: of the best
    trial's scores, or else of the base's."""
    versions: dict[str, str] = {}
    """Package versions on the best trial's worker."""

    @property
    def best(self) -> RankedTrial | None:
        """The trial with rank 1; None if no trial is ranked."""
        return self.ranking[0] if self.ranking else None

    @property
    def winner(self) -> ScoredTrial | None:
        """The trial, or training anew, whose adapter is published; None if no trial is ranked."""
        chosen = self.choice.key if self.choice else None
        return next((trial for trial in self.scored if trial.key == chosen), self.best)

    @property
    def scored(self) -> tuple[ScoredTrial, ...]:
        """Every trial of the ranking, then the trainings of its settings anew."""
        return (*self.ranking, *(self.retrained.runs if self.retrained else ()))

    @property
    def median_trial(self) -> RankedTrial | None:
        """The median trial of the ranking; None if no trial is ranked."""
        return next((trial for trial in self.ranking if trial.number == self.median), None)

    @property
    def provisional(self) -> bool:
        """True if trials are unfinished, so that the ranking may change."""
        return any(count for state, count in self.counts.items() if not state.finished)
