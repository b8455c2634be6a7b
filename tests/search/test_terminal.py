import io

import pytest
from rich.console import Console

from loratory.search.terminal import replace_what_cannot_be_shown, say


def shown(text: str, encoding: str) -> str:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    replace_what_cannot_be_shown(stream)
    stream.write(text)
    return buffer.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "after"),
    [
        ("utf-8", "−0.02 – 日本 é…"),
        ("latin-1", "-0.02 - ?? é..."),
        ("ascii", "-0.02 - ?? ?..."),
    ],
)
def test_what_an_encoding_lacks_is_replaced_and_a_sign_is_kept(encoding, after):
    assert shown("−0.02 – 日本 é…", encoding) == after


def test_a_file_name_that_is_no_text_is_shown():
    assert shown("runs/\udcff", "utf-8") == "runs/?"


def test_streams_of_other_kinds_are_left_alone():
    stream = io.StringIO()
    replace_what_cannot_be_shown(stream)
    stream.write("−")
    assert stream.getvalue() == "−"


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_are_broken_between_words_and_on_terminals_alone(terminal):
    console = Console(file=io.StringIO(), width=30, force_terminal=terminal, color_system=None)
    path = "runs/a-study-of-a-long-name/report.html"
    say(console, "dev has 4 examples: [a] difference is", f"read {path}")
    broken = ["dev has 4 examples: [a]", "difference is", f"read {path}"]
    whole = ["dev has 4 examples: [a] difference is", f"read {path}"]
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines == (broken if terminal else whole)
