"""The kinds of synthetic study."""

from dataclasses import dataclass
from typing import Any, Literal

from scipy.stats import norm


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of study.

    Attributes:
        metric: kind of score: a bounded mean like ROUGE, right or wrong, corpus BLEU, macro F1.
        trials: number of trials.
        examples: number of examples.
        group_size: mean number of examples per group; 1: no groups.
        likeness: share of the variation between examples that belongs to their group.
        scenario: `mixed`: some tied best, some near, some bad; `tied`: all equal; `single`: one clear best.
        labels: number of labels of macro F1.
        confirm: number of fresh examples on which the best five are scored again; 0: none.
        seeds: standard deviation over seeds, as a share of the best settings' score. Above 0 settings are
            trained once in the search and the best again on new seeds, and what is published is replayed.
        right: latent quality of the best trial where nearly all examples are right; 0: the usual one.
    """

    metric: Literal["rouge", "accuracy", "bleu", "macro_f1"]
    trials: int
    examples: int
    group_size: int = 1
    likeness: float = 0.0
    scenario: Literal["mixed", "tied", "single"] = "mixed"
    labels: int = 0
    confirm: int = 0
    seeds: float = 0.0
    right: float = 0.0

    @property
    def name(self) -> str:
        """Name in results and tables."""
        parts = [self.metric, f"{self.trials} trials", f"{self.examples} examples"]
        if self.grouped:
            parts.append(f"groups of {self.group_size} ({self.likeness:g})")
        if self.labels:
            parts.append(f"{self.labels} labels")
        if self.confirm:
            parts.append(f"confirm {self.confirm}")
        if self.seeds:
            parts.append(f"seeds {self.seeds:.0%}")
        if self.right:
            parts.append(f"{norm.cdf(self.right):.0%} right")
        if self.scenario != "mixed":
            parts.append(self.scenario)
        return ", ".join(parts)

    @property
    def grouped(self) -> bool:
        """True if examples come in groups."""
        return self.group_size > 1


CELLS: tuple[Cell, ...] = (
    *(Cell(metric="rouge", trials=12, examples=n) for n in (50, 200, 1000)),
    *(Cell(metric="rouge", trials=64, examples=n) for n in (50, 200, 1000)),
    Cell(metric="rouge", trials=64, examples=200, scenario="tied"),
    Cell(metric="rouge", trials=64, examples=200, scenario="single"),
    *(Cell(metric="accuracy", trials=12, examples=n) for n in (50, 200, 1000)),
    Cell(metric="accuracy", trials=64, examples=200),
    Cell(metric="accuracy", trials=12, examples=200, group_size=10, likeness=0.15),
    *(Cell(metric="bleu", trials=12, examples=n) for n in (50, 200, 1000)),
    Cell(metric="bleu", trials=64, examples=200),
    *(Cell(metric="rouge", trials=12, examples=n, group_size=10, likeness=0.15) for n in (50, 200, 1000)),
    Cell(metric="rouge", trials=12, examples=200, group_size=10, likeness=0.4),
    Cell(metric="rouge", trials=64, examples=200, group_size=10, likeness=0.15),
    *(Cell(metric="macro_f1", trials=12, examples=200, labels=labels) for labels in (4, 20, 60)),
)
"""Groups of 10 are 5, 20 and 100 groups in 50, 200 and 1,000 examples."""

_GROUPS: dict[str, Any] = {"group_size": 10, "likeness": 0.15}
RIGHT_CELLS = tuple(
    Cell(metric="accuracy", trials=12, examples=examples, right=1.9, scenario=scenario, **groups)
    for examples, groups in ((50, {}), (200, {}), (200, _GROUPS))
    for scenario in ("tied", "mixed")
)
"""Studies in which few examples tell two trials apart."""


@dataclass(frozen=True, kw_only=True)
class RuleCell:
    """Studies on which two ways to compute the optimism are compared.

    Attributes:
        cell: the kind of study.
    """

    cell: Cell

    @property
    def name(self) -> str:
        """Name in results and tables."""
        return f"{self.cell.name}, optimism by both rules"


RULE_CELLS = tuple(
    RuleCell(cell=cell) for cell in CELLS if not cell.grouped and (cell.metric == "bleu" or cell.labels == 20)
)
"""Kinds of study whose metric is not the same on fewer examples."""

CONFIRM_CELLS = tuple(
    Cell(metric=metric, trials=trials, examples=150, confirm=confirm)
    for metric in ("rouge", "accuracy", "bleu")
    for trials in (12, 64)
    for confirm in (150, 350)
)
"""Studies that score their best five on fresh examples."""

REPLAY_CELLS = (
    *(
        Cell(metric="rouge", trials=trials, examples=150, confirm=confirm, seeds=seeds)
        for trials, seeds in ((12, 0.03), (64, 0.01), (64, 0.03), (64, 0.06))
        for confirm in (150, 350)
    ),
    *(
        Cell(metric=metric, trials=64, examples=150, confirm=confirm, seeds=0.03)
        for metric in ("accuracy", "bleu")
        for confirm in (150, 350)
    ),
    *(
        Cell(metric="rouge", trials=trials, examples=200, confirm=confirm, seeds=0.03)
        for trials in (12, 64)
        for confirm in (50, 200)
    ),
)
"""Studies that publish by one rule or another."""


@dataclass(frozen=True, kw_only=True)
class SearchCell:
    """Searches whose published file may change with further trials.

    Attributes:
        sampler: how points are chosen.
        examples: number of examples of select, and of confirm as many.
        retrained: whether the best three settings so far are trained on five new seeds at each look.
    """

    sampler: Literal["tpe", "random"]
    examples: Literal[150, 500]
    retrained: bool = False

    @property
    def name(self) -> str:
        """Name in results and tables."""
        again = ", retrained" if self.retrained else ""
        return f"searches, {self.sampler}, {self.examples} examples{again}"


SEARCH_CELLS = (
    SearchCell(sampler="tpe", examples=150),
    SearchCell(sampler="tpe", examples=500),
    SearchCell(sampler="random", examples=150),
    SearchCell(sampler="tpe", examples=150, retrained=True),
)
"""Searches of 96 trials, looked at on the way."""

AnyCell = Cell | RuleCell | SearchCell
