import time

import pytest

from loratory.reports.visible import cut, one_line, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J\x07", r"\x9b2J\x07"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("\u2066x\u2069\u200f\u061c", r"\u2066x\u2069\u200f\u061c"),
        ("pay\u200bpal\ufeff", r"pay\u200bpal\ufeff"),
        ("a\u200db", r"a\u200db"),
        ("值\u200d\u200d值", r"值\u200d\u200d值"),
        ("\U000e0041\U000e0042", r"\U000e0041\U000e0042"),
        ("one\rtwo", r"one\rtwo"),
        ("half \ud83d pair", r"half \ud83d pair"),
        ("line\u2028break", r"line\u2028break"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_an_escape(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\nc",
        "第一行",
        "🚀",
        "👩\u200d💻",
        "می\u200cخواهم",
        "क्\u200dष",
        "עברית",
        "é",
        "<b>&amp;</b>",
        "\\x1b",
    ],
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


def test_windows_lines_are_lines() -> None:
    assert visible("a\r\nb") == "a\nb"


def test_long_texts_say_what_is_left_out() -> None:
    assert cut("x" * 2005) == "x" * 2000 + "… (5 more characters)"
    assert cut("x" * 2000) == "x" * 2000
    assert one_line("a \n b\t=1") == "a b =1"
    assert one_line("x" * 500) == "x" * 300 + "… (200 more characters)"


def test_a_line_of_a_megabyte_is_quick_and_short() -> None:
    start = time.perf_counter()
    line = one_line("y\u202e " * 350_000)
    assert len(line) < 400
    assert "1,050,000 characters" in line
    assert time.perf_counter() - start < 0.1
