import pytest

from loratory.reports.markdown import code, escaped, fenced, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b\nc", r"a\|b c"),
        ("<script>", r"\<script\>"),
        ("learning_rate", "learning_rate"),
        ("_emphasis_", r"\_emphasis\_"),
        ("[x](http://y)", r"\[x\](http://y)"),
        ("AT&T;", "AT&amp;T;"),
    ],
)
def test_foreign_text_shows_as_it_is(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_fence_is_longer_than_any_inside() -> None:
    assert fenced("````\nx").startswith("`````text\n")
    assert fenced("x") == "```text\nx\n```"


def test_table_keeps_its_columns_whatever_the_cells_hold() -> None:
    lines = table(["a", "b"], [["x|y", "1"], ["two\nlines", "2"]], text_columns=1).splitlines()
    assert lines[1] == "| :-- | --: |"
    assert len(lines) == 4
    assert all(line.replace(r"\|", "").count("|") == 3 for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"), [("tok:13a", "`tok:13a`"), ("a `b` c", "`` a `b` c ``"), ("a\nb", "`a b`")]
)
def test_code_is_shown_unchanged_on_one_line(text: str, shown: str) -> None:
    assert code(text) == shown


def test_an_interval_is_shown_as_it_is_and_a_link_that_looks_like_one_is_not() -> None:
    assert escaped("+0.1 [−0.1, 0.3] of [a]") == "+0.1 [−0.1, 0.3] of \\[a\\]"
    for text in ("[0.1, 0.2](http://evil)", "[0.1, 0.2]: http://evil", "[0.1, 0.2][a]"):
        assert escaped(text).startswith("\\[0.1, 0.2\\]")
