"""When a trial stops before the end of its schedule."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.rules import broken_rule


class StoppingRuleName(StrEnum):
    """Rules that a study file may name; `loratory.objectives.stopping` applies them."""

    PATIENCE = "patience"
    MIN_DELTA = "min_delta"


class StoppingSpec(Frozen):
    """An early-stopping rule. It reads a trial's own evaluations; the pruner compares trials."""

    rule: StoppingRuleName = StoppingRuleName.PATIENCE
    """patience: stop after `patience` evaluations without a better value; min_delta: without one better by at
    least `min_delta`."""
    patience: Int = Field(default=2, ge=1)
    """Evaluations without improvement before a trial stops."""
    min_delta: Annotated[Float, Field(gt=0)] | None = None
    """min_delta: smallest change of the metric, in its own units, that counts as improvement."""

    @model_validator(mode="after")
    def _min_delta_where_it_is_read(self) -> Self:
        reads = self.rule is StoppingRuleName.MIN_DELTA
        if reads and self.min_delta is None:
            raise broken_rule("is required for rule min_delta and missing", at=("min_delta",))
        if not reads and self.min_delta is not None:
            raise broken_rule(
                f"must be left out for rule {self.rule}, or set rule: min_delta",
                at=("min_delta",),
                value=self.min_delta,
            )
        return self
