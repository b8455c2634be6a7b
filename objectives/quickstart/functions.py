"""Find a module's functions with a docstring: their code without it, and its first sentence."""

import ast
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(*])")


@dataclass(frozen=True)
class DescribedFunction:
    """One function: its source without the docstring, and the docstring's first sentence."""

    source: str
    sentence: str


def read_source(path: Path) -> str | None:
    """Return a Python file's text in the encoding that it declares, or None where that fails."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def described_functions(text: str) -> Iterator[DescribedFunction]:
    """Yield the functions and methods of a module that have a docstring, in the order of their lines.

    A module that this interpreter cannot parse yields nothing.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    # Not splitlines, which also ends a line at a form feed, where ast does not.
    lines = [f"{line}\n".encode() for line in text.split("\n")]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in sorted(functions, key=lambda node: node.lineno):
        sentence = first_sentence(ast.get_docstring(node) or "")
        if sentence:
            yield DescribedFunction(source=_without_docstring(node, lines), sentence=sentence)


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring's first paragraph on one line, or "" where there is none."""
    paragraph = re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0]
    return _SENTENCE_END.split(normalised(paragraph), maxsplit=1)[0]


def normalised(text: str) -> str:
    """Return the text with every run of whitespace turned into one space, and none at the ends."""
    return " ".join(text.split())


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[bytes]) -> str:
    """Cut a function's docstring out of its lines; ``ast`` counts columns in bytes of UTF-8."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    docstring = node.body[0]
    last, end = docstring.end_lineno or docstring.lineno, docstring.end_col_offset or 0
    before = b"".join(lines[first - 1 : docstring.lineno - 1])
    before += lines[docstring.lineno - 1][: docstring.col_offset]
    after = lines[last - 1][end:] + b"".join(lines[last : node.end_lineno])
    # Code after a semicolon on the docstring's line stays on the line of ``def``.
    gap = " " if after.lstrip().startswith(b";") else "\n"
    kept = before.decode().rstrip() + gap + after.decode().lstrip("; \t").lstrip("\n")
    return textwrap.dedent(kept).rstrip()
