"""Study file to `StudySpec`: YAML or Python, `--set` overrides, and errors that point at the line."""

import difflib
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec
from loratory.spaces.yaml_source import Source, parse_value, read_yaml

_TAGS = {"float", "int", "categorical"}


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and validate a study file.

    Args:
        path: a `.yaml` or `.yml` file, or a `.py` file that defines `study` (a `StudySpec` or a dict).
        overrides: `a.b=c` each, applied on top; `c` is read as YAML.

    Raises:
        InputError: one line for each thing wrong: file, line, key, rule, value.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such study file; `loratory init {path}` writes a starter")
    source = _read_python(path) if path.suffix == ".py" else read_yaml(_text(path), str(path))
    if not isinstance(source.data, dict):
        raise InputError(f"{source.where(())}: must be a mapping of keys, got {type(source.data).__name__}")
    places = {key: f"--set {text}" for text in overrides for key in [_override(source.data, text)]}
    return validate_study(source, places)


def validate_study(source: Source, places: Mapping[str, str] = {}) -> StudySpec:
    """The spec of a parsed file.

    Args:
        source: data and line numbers.
        places: dotted key to the `--set` that wrote it.

    Raises:
        InputError: it breaks a rule.
    """
    try:
        return StudySpec.model_validate(source.data)
    except ValidationError as error:
        lines = dict.fromkeys(_describe(detail, source, places) for detail in error.errors())
        raise InputError("\n".join(lines)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8, byte {error.start} is not") from error


def _read_python(path: Path) -> Source:
    try:
        study = runpy.run_path(str(path)).get("study")
    except Exception as error:
        raise InputError(f"{path}: must run as Python: {type(error).__name__}: {error}") from error
    if study is None:
        raise InputError(f"{path}: must define `study`, a StudySpec or a dict of its keys")
    return Source(study.model_dump(mode="json") if isinstance(study, StudySpec) else study, str(path))


def _override(data: dict[str, Any], text: str) -> str:
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: must look like a.b=value")
    for key in keys[:-1]:
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    try:
        data[keys[-1]] = parse_value(value)
    except yaml.YAMLError as error:
        raise InputError(
            f"--set {text}: value must be valid YAML: {getattr(error, 'problem', error)}"
        ) from error
    return dotted.strip()


def _describe(detail: ErrorDetails, source: Source, places: Mapping[str, str]) -> str:
    context = detail.get("ctx", {})
    path = _path(detail, context)
    dotted = ".".join(map(str, path))
    written = next((place for key, place in places.items() if f"{dotted}.".startswith(f"{key}.")), None)
    where = written or source.where(path)
    return f"{where}: {f'{dotted}: ' if dotted else ''}{_rule(detail, path, context)}"


def _path(detail: ErrorDetails, context: Mapping[str, Any]) -> tuple[str | int, ...]:
    below = (context["below"],) if "below" in context else ()
    return tuple(part for part in detail["loc"] if part not in _TAGS) + below


def _rule(detail: ErrorDetails, path: tuple[str | int, ...], context: Mapping[str, Any]) -> str:
    if detail["type"] == "extra_forbidden":
        return f"unknown key{_suggestion(str(path[-1]), path[:-1])}"
    if detail["type"] == "missing":
        return "is required and missing"
    rule = (
        detail["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("have at", "must have at")
    )
    rule = rule.replace("Input should", "must").replace("List must", "must").replace("Tuple must", "must")
    value = context.get("value", detail["input"])
    shown = "" if isinstance(value, dict) or "got " in rule or not path else f", got {value!r}"
    return f"{rule}{shown}"


def _suggestion(key: str, parent: tuple[str | int, ...]) -> str:
    model: Any = StudySpec
    for part in parent:
        annotation = (
            model.model_fields[part].annotation
            if hasattr(model, "model_fields") and part in model.model_fields
            else None
        )
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            (o for o in options if hasattr(o, "model_fields") and "root" not in o.model_fields), None
        )
    known = sorted(model.model_fields) if hasattr(model, "model_fields") else []
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f": did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if known else ""
