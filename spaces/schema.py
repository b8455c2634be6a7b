"""JSON Schema of the study file, for completion and validation in editors."""

from typing import Any

from loratory.spaces.metric_names import METRICS
from loratory.spaces.study import StudySpec
from loratory.spaces.training import TrainingParameters

TITLE = "loratory study file"

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def study_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) that `loratory init` writes beside the starter file.

    It accepts what the loader accepts, except numbers in quotes. It does not check rules that span keys.
    """
    schema = StudySpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = TITLE
    definitions = schema["$defs"]
    for section in ("SamplerSpec", "PrunerSpec"):
        definitions[section] = _or_name_alone(definitions[section])
    for kind in ("FloatParameter", "IntParameter", "CategoricalParameter"):
        definitions[kind]["required"] = sorted({"type", *definitions[kind].get("required", ())})
    _name_parameters(definitions["SearchSpace"])
    names = {"enum": list(METRICS)}
    schema["properties"]["metric"] |= names
    definitions["EvaluationSpec"]["properties"]["metrics"]["anyOf"][0]["items"] |= names
    standard: dict[str, Any] = _standard_bounds(schema)
    return standard


def _or_name_alone(definition: dict[str, Any]) -> dict[str, Any]:
    name = definition["properties"]["name"]
    names = {key: name[key] for key in ("$ref", "enum") if key in name}
    return {"anyOf": [names, definition], "description": definition["description"]}


def _name_parameters(space: dict[str, Any]) -> None:
    """Allow only hyperparameters in the space, each a parameter or a plain list of choices."""
    parameter = {"anyOf": [space.pop("additionalProperties"), {"type": "array", "minItems": 1}]}
    space["properties"] = {
        name: {**parameter, "description": info.description}
        for name, info in TrainingParameters.model_fields.items()
    }
    space |= {"additionalProperties": False, "minProperties": 1}


def _standard_bounds(schema: Any) -> Any:
    """Rename bounds to JSON Schema's names; pydantic writes its own where a field has a validator."""
    if isinstance(schema, list):
        return [_standard_bounds(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    names = _BOUNDS if "type" in schema else {}
    return {names.get(key, key): _standard_bounds(value) for key, value in schema.items()}
