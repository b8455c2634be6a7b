import pytest

from loratory.objectives.quickstart.functions import DescribedFunction, described_functions, first_sentence

MODULE = '''
"""A module."""
@register("ü")
def plain(x):
    """Return x.  It is not copied."""
    return x


class Box:
    def get(self):
        r"""
        Return what is in
        the box.

        Or nothing.
        """

        # the value
        return self.value

    def only_described(self): """Do nothing"""

    async def wait(self): "Wait; then stop"; await self.done()

    def undescribed(self):
        return 1
'''


def test_functions_are_cut_without_their_docstrings() -> None:
    assert list(described_functions(MODULE)) == [
        DescribedFunction(source='@register("ü")\ndef plain(x):\n    return x', sentence="Return x."),
        DescribedFunction(
            source="def get(self):\n    # the value\n    return self.value",
            sentence="Return what is in the box.",
        ),
        DescribedFunction(source="def only_described(self):", sentence="Do nothing"),
        DescribedFunction(source="async def wait(self): await self.done()", sentence="Wait; then stop"),
    ]


def test_a_form_feed_does_not_shift_the_lines() -> None:
    text = 'a = 1\n\x0c\ndef f():\n    """Return 1."""\n    return 1\n'
    assert [function.source for function in described_functions(text)] == ["def f():\n    return 1"]


@pytest.mark.parametrize("text", ["def f(:\n", "\0", "print 'python 2'\n", ""])
def test_what_does_not_parse_yields_nothing(text: str) -> None:
    assert list(described_functions(text)) == []


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return x. Then stop.", "Return x."),
        ("Use e.g. this one.", "Use e.g. this one."),
        ("x.y -> int\n\nMore.", "x.y -> int"),
        ("Is it so? `True` then.", "Is it so?"),
        ("  \n ", ""),
    ],
)
def test_first_sentence(docstring: str, sentence: str) -> None:
    assert first_sentence(docstring) == sentence
