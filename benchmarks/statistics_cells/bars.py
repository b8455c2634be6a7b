"""Bars: limits that the figures of the procedures must keep, by cell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from statistics_cells.batches import Summary
from statistics_cells.cells import Cell

_MANY_LABELS = 20  # above it reports say that intervals of macro F1 are too narrow


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Limits of a figure in the cells to which they apply.

    Attributes:
        figure: name of the figure.
        low: smallest value.
        high: largest value.
        applies: whether they apply to a cell.
    """

    figure: str
    low: float = 0.0
    high: float = float("inf")
    applies: Callable[[Cell], bool]

    def __str__(self) -> str:
        """Return the limits in words."""
        if not self.low:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high == float("inf") else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A bar in one cell.

    Attributes:
        cell: the cell.
        bar: the bar.
        value: what was measured.
        error: its standard error.
    """

    cell: Cell
    bar: Bar
    value: float
    error: float

    @property
    def met(self) -> bool:
        """True if the value is within the limits."""
        return self.bar.low <= self.value <= self.bar.high

    @property
    def surely_missed(self) -> bool:
        """True if the value is outside by more than two standard errors."""
        return not self.bar.low - 2 * self.error <= self.value <= self.bar.high + 2 * self.error


def outcomes(cell: Cell, summary: Summary) -> Iterator[Outcome]:
    """Return the bars that apply to a cell, with what was measured."""
    for bar in BARS:
        if bar.applies(cell):
            value, error = measured(cell, summary, bar.figure)
            yield Outcome(cell=cell, bar=bar, value=value, error=error)


def measured(cell: Cell, summary: Summary, figure: str) -> tuple[float, float]:
    """Return a figure and its standard error; the optimism is told as a share of the true one."""
    if figure != "optimism":
        return summary.means[figure], summary.errors[figure]
    # What all trials have in common is 0 on average for means, and most of the noise.
    name = "true optimism over all" if cell.metric in ("rouge", "accuracy") else "true optimism"
    true = summary.means[name]
    ratio = summary.means["optimism"] / true
    # The estimate varies much less than what it estimates.
    return ratio, abs(ratio) * summary.errors[name] / abs(true)


def _usual(trials: int) -> Callable[[Cell], bool]:
    return lambda c: c == Cell(metric="rouge", trials=trials, examples=200)


def _judged(cell: Cell) -> bool:
    return cell.labels <= _MANY_LABELS and not cell.confirm


def _short_bleu(cell: Cell) -> bool:
    return cell.metric == "bleu" and cell.examples == 50


def _plain(cell: Cell) -> bool:
    return not (cell.grouped or cell.labels or cell.confirm or _short_bleu(cell))


BARS = (
    Bar(figure="fixed", low=0.93, high=0.97, applies=_plain),
    Bar(figure="fixed", low=0.91, applies=_short_bleu),
    Bar(figure="fixed", low=0.92, applies=lambda c: c.grouped),
    Bar(figure="fixed", low=0.93, applies=lambda c: 0 < c.labels <= _MANY_LABELS),
    Bar(figure="picked", low=0.92, applies=_judged),
    Bar(figure="held", low=0.93, applies=lambda c: c.right > 0),
    Bar(figure="wrongly told", high=0.05, applies=lambda c: c.right > 0),
    Bar(figure="best in set", low=0.93, applies=_judged),
    Bar(figure="shortfall", low=0.93, applies=_judged),
    Bar(figure="size of set", high=5.9, applies=_usual(12)),
    Bar(figure="size of set", high=29, applies=_usual(64)),
    Bar(
        figure="optimism",
        low=0.8,
        high=1.2,
        applies=lambda c: _judged(c) and c.metric in ("rouge", "accuracy"),
    ),
    Bar(figure="optimism", low=0.8, high=1.45, applies=lambda c: _judged(c) and c.metric == "bleu"),
    Bar(figure="optimism", low=0.8, applies=lambda c: 0 < c.labels <= _MANY_LABELS),
    Bar(figure="wrong within 5%", high=0.05, applies=_judged),
    Bar(figure="named within 5%", low=0.5, applies=_usual(12)),
    Bar(figure="confirmed", low=0.92, applies=lambda c: c.confirm > 0 and not c.seeds),
)
