"""Better, worse or cannot tell: two files compared on the same examples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from scipy.stats import norm

from loratory.objectives.scores import ScoreTable
from loratory.reports.statistics.cautions import few_groups
from loratory.reports.statistics.differences import difference_errors, paired_gain
from loratory.reports.statistics.fixed_interval import LEVEL
from loratory.reports.statistics.jackknife import jackknife
from loratory.reports.statistics.power import POWER
from loratory.reports.statistics.scored import Scored, scored
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Direction


class Verdict(StrEnum):
    """Result of a comparison, for its first model."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The difference between two models on the same examples.

    Attributes:
        values: the metric of the first and of the second.
        gain: by how much the first is better; negative where it is worse, in either direction of the metric.
        low: lower end of the interval of the gain; -inf where nothing tells about chance.
        high: its upper end.
        unit: `example` or `group`.
        units: number G of units.
        examples: number of examples.
        needed: examples on which a gain of this size would be told with probability 0.8; None where the gain
            is zero, or where the examples tell it already.
    """

    values: tuple[float, float]
    gain: float
    low: float
    high: float
    unit: str
    units: int
    examples: int
    needed: int | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the interval of the gain; None where nothing tells about chance."""
        return (self.low, self.high) if math.isfinite(self.low) and math.isfinite(self.high) else None

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the interval leaves out zero."""
        if self.low > 0:
            return Verdict.BETTER
        return Verdict.WORSE if self.high < 0 else Verdict.CANNOT_TELL

    @property
    def rough(self) -> bool:
        """True if the units are so few groups that the interval is rough."""
        return few_groups(self.unit, self.units)


def paired(first: ScoreTable, second: ScoreTable, metric: str, direction: Direction) -> Paired:
    """Compare two models on the examples that both answered.

    The interval is that of `gains_over`. It holds for two models that were named beforehand. Of the best of
    many, picked on these examples, it says too much.

    Args:
        first: per-example scores of the first model.
        second: those of the second.
        metric: the metric.
        direction: which values are better.

    Raises:
        InputError: the scores are of different examples, or hold no such metric, or there is one unit alone.
    """
    found = _both({"first": first, "second": second}, metric, direction)
    if found.units < 2:
        raise InputError(f"two models are compared on 2 {found.unit}s or more, there is 1")
    errors = jackknife(found)
    gain, low, high = paired_gain(found, errors, 0, 1)
    first_value, second_value = (found.sign * found.values).tolist()
    told, error = low > 0 or high < 0, float(difference_errors(found, errors, 0)[1])
    return Paired(
        values=(first_value, second_value),
        gain=gain,
        low=low,
        high=high,
        unit=found.unit,
        units=found.units,
        examples=found.examples,
        needed=None if told else examples_needed(gain, error, found.examples),
    )


def examples_needed(gain: float, error: float, examples: int) -> int | None:
    """Return the examples that tell a gain with probability 0.8: n ((z_0.975 + z_0.8) se / gain)^2.

    Args:
        gain: the gain.
        error: its standard error on `examples`.
        examples: number of examples.
    """
    if not gain or not math.isfinite(error):
        return None
    factor = float(norm.isf((1 - LEVEL) / 2) + norm.ppf(POWER))
    return math.ceil(examples * (factor * error / gain) ** 2)


def _both(tables: Mapping[str, ScoreTable], metric: str, direction: Direction) -> Scored:
    found, left_out = scored(tables, metric, direction)
    if found is None or left_out:
        name, reason = next(iter(left_out.items()))
        raise InputError(f"the {name} model cannot be compared: {reason}")
    return found
