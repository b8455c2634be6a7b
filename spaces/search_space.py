"""The search space: named parameters, each legal for its field of `TrainingParameters`."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from pydantic import RootModel, ValidationError, field_validator, model_validator

from loratory.spaces.parameters import CategoricalParameter, Parameter
from loratory.spaces.rules import broken_rule, did_you_mean, in_words
from loratory.spaces.training import TrainingParameters


class SearchSpace(RootModel[dict[str, Parameter]]):
    """Parameter names mapped to the values that they may take."""

    model_config = {"frozen": True}

    @model_validator(mode="before")
    @classmethod
    def _lists_are_categorical(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            k: {"type": "categorical", "choices": v} if isinstance(v, list | tuple) else v
            for k, v in value.items()
        }

    @field_validator("root")
    @classmethod
    def _legal_everywhere(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        if not value:
            raise broken_rule("must name at least one parameter to search, such as learning_rate")
        return {name: _legal(name, parameter) for name, parameter in value.items()}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions by name, in the order of the file."""
        return {name: parameter.distribution() for name, parameter in self.root.items()}

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Convert values sampled by Optuna to the values of the study file."""
        return {name: _decoded(self.root[name], value) for name, value in stored.items()}

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Convert values of the study file to those that Optuna stores.

        Raises:
            KeyError: a name is not in the space.
            ValueError: a value is not among the choices.
        """
        return {name: _encoded(self.root[name], value) for name, value in values.items()}


def _decoded(parameter: Parameter, value: Any) -> Any:
    return parameter.decode(value) if isinstance(parameter, CategoricalParameter) else value


def _encoded(parameter: Parameter, value: Any) -> Any:
    return parameter.encode(value) if isinstance(parameter, CategoricalParameter) else value


def _legal(name: str, parameter: Parameter) -> Parameter:
    """Return the parameter; its name must be a hyperparameter, and all its values legal for it."""
    known = TrainingParameters.model_fields
    if name not in known:
        hint = did_you_mean(name, known) or f"; known are {', '.join(sorted(known))}"
        raise broken_rule(f"is not a hyperparameter{hint}", at=(name,))
    if isinstance(parameter, CategoricalParameter):
        choices = tuple(_legal_value(name, choice) for choice in parameter.choices)
        return parameter.model_copy(update={"choices": choices})
    _check_type(name, parameter.type)
    for value in parameter.extremes():
        _legal_value(name, value)
    return parameter


def _check_type(name: str, type_name: str) -> None:
    """Refuse a range for a hyperparameter without numbers, and a float range for whole numbers."""
    field_type = TrainingParameters.model_fields[name].annotation
    if field_type is bool:
        raise broken_rule(f"takes true or false: write a list of choices, got type {type_name}", at=(name,))
    if field_type is int and type_name == "float":
        raise broken_rule("takes whole numbers: must be of type int, got type float", at=(name,))


def _legal_value(name: str, value: Any) -> Any:
    """Return the value, as a number also if the file has it in quotes."""
    try:
        legal = getattr(TrainingParameters.model_validate({name: value}), name)
    except ValidationError as error:
        raise broken_rule(in_words(error.errors()[0]), at=(name,)) from None
    return legal if isinstance(value, str) and isinstance(legal, int | float) else value
