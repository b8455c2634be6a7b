"""`--set a.b=c`: values of the command line that replace those of the study file."""

from typing import Any

import yaml

from loratory.spaces.errors import InputError
from loratory.spaces.rules import shown
from loratory.spaces.yaml_source import Source, parse_value

_NAME_ALONE = ("sampler", "pruner")


def apply_override(source: Source, text: str) -> str:
    """Write one override into the data of the source.

    Args:
        source: the parsed study file; its data are changed.
        text: `a.b=c`, with `c` in YAML.

    Returns:
        The dotted key.

    Raises:
        InputError: the text has another form, or its section is no mapping.
    """
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: must look like a.b=value")
    section = source.data
    for depth in range(1, len(keys)):
        section = _section(source, section, tuple(keys[:depth]), text)
    section[keys[-1]] = _parsed(value, text)
    return ".".join(keys)


def _section(source: Source, parent: dict[str, Any], path: tuple[str, ...], text: str) -> dict[str, Any]:
    section = parent.get(path[-1])
    if section is None:
        section = {}
    elif path[0] in _NAME_ALONE and len(path) == 1 and isinstance(section, str):
        section = {"name": section}
    if not isinstance(section, dict):
        dotted = ".".join(path)
        raise InputError(
            f"--set {text}: {dotted} must be a mapping of keys, got {shown(section)} "
            f"({source.where(path)}): set the whole of {dotted}"
        )
    parent[path[-1]] = section
    return section


def _parsed(value: str, text: str) -> Any:
    try:
        return parse_value(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or type(error).__name__
        raise InputError(f"--set {text}: value must be valid YAML: {reason}") from error
