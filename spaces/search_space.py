"""What is searched: named parameters, each legal for the field of `TrainingParameters` it samples."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from optuna.distributions import BaseDistribution
from pydantic import RootModel, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from loratory.spaces.parameters import CategoricalParameter, Parameter
from loratory.spaces.training import TrainingParameters


class SearchSpace(RootModel[dict[str, Parameter]]):
    """Parameter names mapped to the values they may take."""

    model_config = {"frozen": True}

    @model_validator(mode="before")
    @classmethod
    def _lists_are_categorical(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            k: {"type": "categorical", "choices": v} if isinstance(v, list) else v for k, v in value.items()
        }

    @field_validator("root")
    @classmethod
    def _not_empty(cls, value: dict[str, Parameter]) -> dict[str, Parameter]:
        if not value:
            raise ValueError("must name at least one parameter to search, such as learning_rate")
        return value

    @model_validator(mode="after")
    def _legal_everywhere(self) -> Self:
        for name, parameter in self.root.items():
            _check_parameter(name, parameter)
        return self

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by name, in the file's order."""
        return {name: parameter.distribution() for name, parameter in self.root.items()}

    def decode(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as the study file writes them, from what Optuna sampled."""
        return {name: _decoded(self.root[name], value) for name, value in stored.items()}

    def fingerprint(self) -> str:
        """Hash of names and ranges; equal fingerprints sample from the same space."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _decoded(parameter: Parameter, value: Any) -> Any:
    return parameter.decode(value) if isinstance(parameter, CategoricalParameter) else value


def _check_parameter(name: str, parameter: Parameter) -> None:
    """Refuse a name that no trial has, and a range that reaches an illegal value."""
    known = TrainingParameters.model_fields
    if name not in known:
        raise _illegal(name, f"is not a hyperparameter; known are {', '.join(sorted(known))}", name)
    for value in parameter.extremes():
        try:
            TrainingParameters.model_validate({name: value})
        except ValidationError as error:
            raise _illegal(name, error.errors()[0]["msg"], value) from None


def _illegal(name: str, rule: str, value: Any) -> PydanticCustomError:
    # The loader reads `below` to point at the parameter's own line.
    return PydanticCustomError("illegal_parameter", "{rule}", {"rule": rule, "below": name, "value": value})
