"""Translate pydantic's errors into lines that name file, line, key, rule and value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from loratory.spaces.parameters import CategoricalParameter, FloatParameter, IntParameter
from loratory.spaces.rules import did_you_mean, in_words, shown, usual_name
from loratory.spaces.study import StudySpec
from loratory.spaces.yaml_source import Path, Source


@dataclass(frozen=True)
class Diagnosis:
    """Translates the errors of one study file into lines.

    Attributes:
        source: the file's data and line numbers, overrides applied.
        overrides: dotted key to the `--set` text that wrote it.
    """

    source: Source
    overrides: Mapping[str, str] = field(default_factory=dict)

    def lines(self, details: Sequence[ErrorDetails]) -> list[str]:
        """Return one line per key that breaks a rule."""
        rules: dict[Path, list[str]] = {}
        listed: set[str] = set()
        for detail in details:
            path = self._path(detail)
            rule = self._rule(detail, path)
            # The known keys of a section are listed once.
            head, known, keys = rule.partition(_KNOWN)
            rules.setdefault(path, []).append(head if keys in listed else rule)
            listed |= {keys} if known else set()
        # Pydantic reports every branch of a union; the deepest error is about the intended one.
        inner = [path for path in rules if not any(path == other[: len(path)] != other for other in rules)]
        return [self._line(path, rules[path]) for path in inner]

    def _line(self, path: Path, rules: Sequence[str]) -> str:
        dotted = ".".join(map(str, path))
        text = f"{self._where(path)}: {f'{dotted}: ' if dotted else ''}{_joined(rules)}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

    def _where(self, path: Path) -> str:
        dotted = ".".join(map(str, path)) + "."
        for key, text in self.overrides.items():
            if dotted.startswith(f"{key}."):
                return f"--set {text}"
            if f"{key}.".startswith(dotted):
                in_file = path in self.source.lines
                return f"{self.source.where(path)} with --set {text}" if in_file else f"--set {text}"
        return self.source.where(path)

    def _path(self, detail: ErrorDetails) -> Path:
        """Return the keys that lead to the error in the file: pydantic's location without union tags."""
        if self.source.data is None:
            return tuple(detail["loc"])
        data, path = self.source.data, []
        for part in detail["loc"]:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                if detail["type"] != "missing" or part != detail["loc"][-1]:
                    continue
            path.append(part)
        return (*path, *detail.get("ctx", {}).get("at", ()))

    def _rule(self, detail: ErrorDetails, path: Path) -> str:
        if detail["type"] == "extra_forbidden":
            return f"unknown key{_remedy(str(path[-1]), path[:-1])}"
        if detail["type"] == "missing":
            return "is required and missing"
        if detail["type"] == "parameter_type":
            return _parameter_rule(detail)
        return in_words(detail)


def _parameter_rule(detail: ErrorDetails) -> str:
    value = detail["input"]
    if not isinstance(value, Mapping):
        return f"{detail['msg']}, got {shown(value)}; what is fixed goes in training"
    if "type" not in value:
        return f"{detail['msg']}, got none"
    return f"{detail['msg']}, got {shown(value['type'])}{did_you_mean(value['type'], _PARAMETERS)}"


_PARAMETERS: dict[str, type[BaseModel]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


def _joined(rules: Sequence[str]) -> str:
    """Join the rules of the branches of a union in one sentence about their common value."""
    distinct = list(dict.fromkeys(rules))
    heads = [rule.rpartition(", got ")[0] for rule in distinct]
    if len(distinct) == 1 or not all(heads):
        return "; ".join(distinct)
    value = distinct[0].rpartition(", got ")[2]
    return f"{' or '.join([heads[0], *(head.removeprefix('must be ') for head in heads[1:])])}, got {value}"


_KNOWN = "; known are "
_QUANTIZATION = {"bits", "bnb_4bit_quant_type", "load_in_4bit", "load_in_8bit", "quant_method", "quant_type"}


def _remedy(key: str, parent: Path) -> str:
    known = _known_keys(parent)
    if parent in ((), ("model",), ("training",)) and (key in _QUANTIZATION or key.startswith("quantization")):
        return ": model.quantization says how the base is quantised: nf4 (by bitsandbytes) or none"
    if hint := did_you_mean(key, known):
        return hint
    name = usual_name(key)
    homes = [".".join(home) or "the top level" for home, model in _sections() if name in model.model_fields]
    if homes:
        return f": it belongs in {' or '.join(homes)}{f' as {name}' if name != key else ''}"
    return f"{_KNOWN}{', '.join(sorted(known))}"


def _known_keys(parent: Path) -> list[str]:
    if len(parent) > 1 and parent[0] == "space":
        return sorted({name for model in _PARAMETERS.values() for name in model.model_fields})
    return next((list(model.model_fields) for section, model in _sections() if section == parent), [])


def _sections(
    model: type[BaseModel] = StudySpec, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Yield every section of the study file with its model, the outermost first."""
    yield path, model
    for name, info in model.model_fields.items():
        for option in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if (
                isinstance(option, type)
                and issubclass(option, BaseModel)
                and "root" not in option.model_fields
            ):
                yield from _sections(option, (*path, name))
