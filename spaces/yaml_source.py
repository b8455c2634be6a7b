"""YAML with the line of every key, floats as YAML 1.2 reads them, and no key twice."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from loratory.spaces.errors import InputError

Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a number (YAML 1.1 reads a string)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class Source:
    """What a study file says, and where.

    Attributes:
        data: the parsed document.
        place: file name, for messages.
        lines: line number (from 1) of each key path.
    """

    data: Any
    place: str
    lines: dict[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """`file:line` of the key at `path`, or of its nearest parent that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.place}:{self.lines[path]}" if path in self.lines else self.place


def read_yaml(text: str, place: str) -> Source:
    """Parse a YAML document.

    Raises:
        InputError: it is not YAML, or a key stands twice; the message has file and line.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{place}: must hold a study, is empty; `loratory init` writes a starter file")
        lines: dict[Path, int] = {}
        _index(root, (), lines, place)
        return Source(loader.construct_document(root), place, lines)
    except yaml.YAMLError as error:
        raise InputError(_describe(error, place)) from error
    finally:
        loader.dispose()


def parse_value(text: str) -> Any:
    """One value as the study file would read it, for `--set`."""
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


def _index(node: yaml.Node, path: Path, lines: dict[Path, int], place: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _index(item, (*path, position), lines, place)
    elif isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if (*path, key) in lines:
                first = lines[*path, key]
                dotted = ".".join(map(str, (*path, key)))
                raise InputError(
                    f"{place}:{line}: key {dotted} stands twice (first on line {first}): remove one"
                )
            lines[*path, key] = line
            _index(value_node, (*path, key), lines, place)


def _describe(error: yaml.YAMLError, place: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{place}:{mark.line + 1}" if mark else place
    return f"{where}: must be valid YAML: {getattr(error, 'problem', None) or error}"
