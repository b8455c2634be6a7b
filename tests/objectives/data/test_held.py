import json

import pytest

from loratory.objectives.data.held import holds, missing, tool_names


@pytest.mark.parametrize(
    ("text", "part", "beside", "held"),
    [
        ("Be brief. Go.", "Be brief.", (), True),
        ("Go.", "Be brief.", (), False),
        ("please search", "search", ("please search",), False),
        ("search: please search", "search", ("please search",), True),
        ('"a\\nb" and a b', "a\nb", ("a b",), True),
        ("go", "", ("go",), True),
        ("go", "!", (), True),
    ],
)
def test_a_part_is_held_if_it_comes_once_more_than_in_the_others(text, part, beside, held):
    assert holds(text, part, beside) is held
    assert (missing(text, [part], beside) is None) is held


def test_a_tool_without_a_name_is_known_by_a_text_of_it():
    tools = [{"function": {"name": "a"}}, {"name": "b"}, {"api": "c", "n": 3}, {"n": 3}]
    assert tool_names(json.dumps(tools)) == ["a", "b", "api", "n"]
    assert tool_names("") == []
