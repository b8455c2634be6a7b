"""Early stopping: the best evaluation of a trial so far, and rules that end its training. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from loratory.spaces.metric_names import Direction
from loratory.spaces.stopping import StoppingRuleName, StoppingSpec


class Evaluated(NamedTuple):
    """The study's metric at one measurement on eval.dev.

    Attributes:
        step: index on the nominal grid, from 1.
        value: finite; larger or smaller is better, as the metric's direction says.
    """

    step: int
    value: float


class StoppingRule(Protocol):
    """A rule that ends a trial's training, from its own measurements alone."""

    def why_stop(self, history: Sequence[Evaluated], direction: Direction) -> str | None:
        """Return the reason to stop after the last of `history`, or None to train on."""
        ...


def is_better(value: float, than: float, direction: Direction, *, by: float = 0.0) -> bool:
    """Return whether a value is better by more than zero and by at least `by`; equal is not better."""
    gain = value - than if direction is Direction.MAXIMIZE else than - value
    return gain > 0 and gain >= by


def best(history: Sequence[Evaluated], direction: Direction) -> Evaluated | None:
    """Return the best measurement, the first of equals; None before the first."""
    found = None
    for evaluated in history:
        if found is None or is_better(evaluated.value, found.value, direction):
            found = evaluated
    return found


@dataclass(frozen=True)
class NeverStop:
    """Train to the end of the schedule."""

    def why_stop(self, history: Sequence[Evaluated], direction: Direction) -> str | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(frozen=True)
class Patience:
    """Stop after some measurements without a better value (Prechelt, "Early Stopping - But When?", 1998).

    Attributes:
        patience: measurements without improvement that end the training, at least 1.
        min_delta: improvement that counts, in units of the metric; 0 counts any. It is counted from the last
            value that counted, so that many small steps in a row count too.
    """

    patience: int
    min_delta: float = 0.0

    def why_stop(self, history: Sequence[Evaluated], direction: Direction) -> str | None:
        """Return the reason to stop, naming the last measurement that counted as improvement."""
        if not history:
            return None
        counted, place = history[0], 0
        for index, evaluated in enumerate(history):
            if is_better(evaluated.value, counted.value, direction, by=self.min_delta):
                counted, place = evaluated, index
        if len(history) - 1 - place < self.patience:
            return None
        by = f" by {self.min_delta:g}" if self.min_delta else ""
        return f"early stopping: no better{by} since evaluation {counted.step}"


def stopping_rule(spec: StoppingSpec | None) -> StoppingRule:
    """Return the rule that a study asks for; without one its trials train to the end."""
    if spec is None:
        return NeverStop()
    match spec.rule:
        case StoppingRuleName.PATIENCE:
            return Patience(spec.patience)
        case StoppingRuleName.MIN_DELTA:
            assert spec.min_delta is not None  # StoppingSpec requires it
            return Patience(spec.patience, spec.min_delta)
