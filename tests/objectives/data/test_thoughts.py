import pytest

from loratory.objectives.data.thoughts import after_thought, answer_alone, has_thought, opened_thought


@pytest.mark.parametrize(
    ("prompt", "text", "alone"),
    [
        ("<assistant>", "<think>\na\n</think>\n\nyes", "yes"),
        ("<assistant><think>\n", "a\n</think>\n\nyes", "yes"),
        ("<assistant>", "yes", "yes"),
        ("<assistant>", "[THINK]a[/THINK] yes", "yes"),
        ("<assistant>", "<think>a</think><think>b</think>yes", "yes"),
        # Decoding ended within the thought: there is no answer.
        ("<assistant>", "<think>\na and", ""),
        ("<assistant><think>\n", "a and", ""),
        ("<assistant>", "a < b and <thinking>", "a < b and <thinking>"),
    ],
)
def test_answer_alone(prompt, text, alone):
    assert answer_alone(text, prompt=prompt) == alone


def test_parts_of_a_thought():
    assert has_thought("a</think>b")
    assert not has_thought("<think>a")
    assert after_thought("no thought ") == "no thought "
    assert opened_thought("x<think>\n") == "<think>"
    assert opened_thought("<think>\n</think>\n") == ""
