"""What the study's metric alone does not say: places by other metrics, and quality against cost."""

from loratory.spaces.frozen import Frozen
from loratory.spaces.metric_names import Direction


class MetricRanks(Frozen):
    """Places of trials by one metric on eval.select, among all trials that have it."""

    metric: str
    """Name of the metric."""
    direction: Direction
    """Which of its values are better."""
    trials: int
    """Number of trials that have it."""
    first: tuple[str, ...]
    """Keys of the trials with the best value, all that are equal."""
    first_shown: tuple[str, ...]
    """Their names for people."""
    first_may_be_best: bool
    """True if one of them may be the best by the study's metric too."""
    ranks: dict[str, int]
    """Places by key of the trials that may be the best by the study's metric; equal values share a place.
    Where nothing tells who may be the best, of the published trial alone."""


class ParetoPoint(Frozen):
    """One trial with its cost."""

    key: str
    """Key of the trial."""
    shown: str
    """Its name for people."""
    cost: float
    """Its cost."""
    value: float
    """The study's metric on eval.select."""
    may_be_best: bool
    """True if it may be the best by the study's metric."""


class ParetoFront(Frozen):
    """Trials of which no other is both at least as good and at most as costly, and better in one of them."""

    cost: str
    """`adapter_bytes`, `training_seconds`, `decoding_tokens_per_second` or `peak_memory_bytes`."""
    label: str
    """Name of the cost for people."""
    front: tuple[ParetoPoint, ...] = ()
    """The front, the cheapest first; empty where the cost is not recorded."""
    others: tuple[ParetoPoint, ...] = ()
    """All other trials with a recorded cost."""
    note: str = ""
    """What the cost is, or why there is no front."""
