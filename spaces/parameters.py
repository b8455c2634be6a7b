"""One searched parameter: a strict schema of an Optuna distribution."""

import json
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import Field, Tag, field_validator, model_validator
from pydantic.types import Discriminator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.rules import shown


class _Range(Frozen):
    """Fields and checks of float and int ranges."""

    log: bool = False
    """Sample on a logarithmic scale."""

    def _check(self, low: float, high: float, step: float | None) -> None:
        if low > high:
            raise ValueError(f"must have low <= high, got low={low:g} and high={high:g}")
        if self.log and low <= 0:
            raise ValueError(f"must have low > 0 on a log scale, got low={low:g}")
        if self.log and step is not None:
            raise ValueError(
                f"must not have both log and step, got log=true and step={step:g}: leave one out"
            )
        if step is not None:
            _check_step(low, high, step)


def _check_step(low: float, high: float, step: float) -> None:
    # Decimal arithmetic, as in Optuna: 0.3 is three steps of 0.1, but not in binary.
    lowest, highest, distance = (Decimal(str(bound)) for bound in (low, high, step))
    nearest = lowest + (highest - lowest) // distance * distance
    if nearest != highest:
        raise ValueError(
            f"must reach high from low in whole steps, got low={low:g}, high={high:g}, step={step:g}: "
            f"high={nearest} would do"
        )


class FloatParameter(_Range):
    """A real number between two inclusive bounds."""

    type: Literal["float"] = "float"
    low: Float
    """Smallest value."""
    high: Float
    """Largest value."""
    step: Annotated[Float, Field(gt=0)] | None = None
    """Distance between neighbouring values; null for a continuous range."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        self._check(self.low, self.high, self.step)
        return self

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution of this parameter."""
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that bound the parameter: all are legal if these are."""
        return (self.low, self.high)


class IntParameter(_Range):
    """A whole number between two inclusive bounds."""

    type: Literal["int"] = "int"
    low: Int
    """Smallest value."""
    high: Int
    """Largest value."""
    step: Annotated[Int, Field(ge=1)] | None = None
    """Distance between neighbouring values; null means 1."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        self._check(self.low, self.high, self.step)
        return self

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution of this parameter."""
        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that bound the parameter: all are legal if these are."""
        return (self.low, self.high)


class CategoricalParameter(Frozen):
    """One of a list of values; a plain list in the study file means this."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Any, ...] = Field(min_length=1)
    """The values to choose from; a list among them (`target_modules`) is one choice."""
    stored: tuple[Any, ...] | None = None
    """Names of the choices in the Optuna storage, where an earlier version began the study and named them
    otherwise; null: the choices themselves."""

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        if self.stored is not None and len(self.stored) != len(self.choices):
            raise ValueError(
                f"stored must name each of the {len(self.choices)} choices, got {len(self.stored)} names"
            )
        return self

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        listed = tuple(list(choice) if isinstance(choice, tuple) else choice for choice in choices)
        twice = [choice for place, choice in enumerate(listed) if choice in listed[:place]]
        if twice:
            raise ValueError(f"must have distinct choices, got {shown(twice[0])} more than once")
        return listed

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution, in which choices that Optuna cannot store are JSON text."""
        return CategoricalDistribution([_stored(name) for name in self._names])

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that bound the parameter: all are legal if these are."""
        return self.choices

    def decode(self, stored: CategoricalChoiceType) -> Any:
        """Return the choice that Optuna stores as `stored`."""
        names = map(_stored, self._names)
        return next(choice for choice, name in zip(self.choices, names, strict=True) if name == stored)

    def encode(self, choice: Any) -> CategoricalChoiceType:
        """Return what Optuna stores for a choice.

        Raises:
            ValueError: it is not among the choices.
        """
        if choice not in self.choices:
            raise ValueError(f"must be one of {', '.join(map(str, self.choices))}, got {shown(choice)}")
        return _stored(self._names[self.choices.index(choice)])

    @property
    def _names(self) -> tuple[Any, ...]:
        return self.choices if self.stored is None else self.stored


def _stored(choice: Any) -> CategoricalChoiceType:
    return json.dumps(choice) if isinstance(choice, list) else choice


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("type", "missing"))
    return str(getattr(value, "type", "missing"))


Parameter = Annotated[
    Annotated[FloatParameter, Tag("float")]
    | Annotated[IntParameter, Tag("int")]
    | Annotated[CategoricalParameter, Tag("categorical")],
    Discriminator(
        _kind,
        custom_error_type="parameter_type",
        custom_error_message="must have a type: float, int or categorical (or be a plain list of choices)",
    ),
]
