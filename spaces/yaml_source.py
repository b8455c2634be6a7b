"""Read YAML 1.2 scalars with the line of every key, and refuse duplicate keys."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from loratory.spaces.errors import InputError

Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads plain scalars as YAML 1.2 and editors do.

    `1e-4` is a number (YAML 1.1 has it a string), `off` and `no` are text (not false), `2026-01-31` is text
    (not a date), and `1:30` is text (not 90).
    """


_YAML_1_2: dict[str, tuple[str, str]] = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_pattern, _first) in _YAML_1_2.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^({_pattern})$"), list(_first))


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


@dataclass(frozen=True)
class Source:
    """Content of a study file with line numbers.

    Attributes:
        data: the parsed document.
        place: file name for messages.
        lines: line number (from 1) of each key path.
    """

    data: Any
    place: str
    lines: dict[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """Return `file:line` of the key at `path`, or of its nearest parent in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.place}:{self.lines[path]}" if path in self.lines else self.place


def read_yaml(text: str, place: str) -> Source:
    """Parse a YAML document.

    Raises:
        InputError: the text is not YAML, or has a duplicate key; the message has file and line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{place}: must hold a study, is empty; `loratory init` writes a starter file")
        index = _Index(place)
        index.add(root, ())
        return Source(loader.construct_document(root), place, index.lines)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{place}:{line}: must be printable text, got {chr(error.character)!r}") from error
    except yaml.YAMLError as error:
        raise InputError(_describe(error, place)) from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{place}: must be valid YAML: {reason}") from error


def parse_value(text: str) -> Any:
    """Parse one value of `--set` by the rules of study files."""
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


@dataclass
class _Index:
    """Finds the line of every key.

    Attributes:
        place: file name, for messages.
        lines: line number (from 1) of each key path.
    """

    place: str
    lines: dict[Path, int] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def add(self, node: yaml.Node, path: Path) -> None:
        """Index the node at `path` and all nodes below it."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:  # an alias: its keys are indexed at the anchor
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self.add(item, (*path, position))
        elif isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                self.add(value_node, self._key(key_node, path))

    def _key(self, node: yaml.Node, parent: Path) -> Path:
        line = node.start_mark.line + 1
        if node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            got = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
            raise InputError(f"{self.place}:{line}: a key must be text, got {got}: put it in quotes")
        path = (*parent, node.value)
        if path in self.lines:
            dotted, first = ".".join(map(str, path)), self.lines[path]
            raise InputError(
                f"{self.place}:{line}: key {dotted} stands twice (first on line {first}): remove one"
            )
        self.lines[path] = line
        return path


def _describe(error: yaml.YAMLError, place: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{place}:{mark.line + 1}" if mark else place
    reason = getattr(error, "problem", None) or error
    return f"{where}: must be valid YAML: {' '.join(str(reason).split())}"
