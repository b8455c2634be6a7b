"""JSON Schema of the study file, for completion and checks in editors."""

from typing import Any

from loratory.spaces.study import StudySpec


def study_schema() -> dict[str, Any]:
    """The schema that `loratory init` writes beside the starter file."""
    schema = StudySpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "loratory study file"
    space = schema["$defs"]["SearchSpace"]
    # A plain list stands for a categorical parameter.
    space["additionalProperties"] = {
        "anyOf": [space["additionalProperties"], {"type": "array", "minItems": 1}]
    }
    for section in ("SamplerSpec", "PrunerSpec"):
        definition = schema["$defs"][section]
        schema["$defs"][section] = {
            "anyOf": [{"type": "string"}, definition],
            "description": definition["description"],
        }
    return schema
