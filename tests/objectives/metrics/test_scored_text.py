import pytest

from loratory.objectives.metrics.scored_text import UNMATCHED, score_parts, scored_part
from loratory.spaces.data import EvaluationSpec

LAST_NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
GSM8K = r"####\s*(-?[\d,.]+)"


def part(text, pattern):
    return scored_part(text, EvaluationSpec(extract=pattern))


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("3 + 4 = 7, so 7 apples.\n#### 7", LAST_NUMBER, "7"),
        ("He pays $1,250.50 of -3", LAST_NUMBER, "-3"),
        ("first #### 5 then #### 42", GSM8K, "42"),
        ("no number", LAST_NUMBER, None),
        ("#### 5", r"answer: (.*)|####", "####"),
        ("answer:  ", r"answer:(.*)", None),
        ("Answer: yes\nAnswer: no ", r"(?i)answer:(.*)", "no"),
    ],
)
def test_last_match_gives_group_1_or_all_of_it(text, pattern, found):
    assert part(text, pattern) == found


def test_without_a_pattern_the_whole_text_is_scored():
    assert part(" as it is ", None) == " as it is "


def test_answers_alone_are_scored_and_a_text_without_one_is_wrong_and_counted():
    evaluation = EvaluationSpec(extract=LAST_NUMBER)
    predictions = ["so it is 12.", "3 and 4", "I do not know", ""]
    references = ["10 + 2 = 12", "the 4", "5", "6"]
    names = ["exact_match", "bleu", "rougeL", "token_f1", "chrf", "squad_f1"]
    scores = score_parts(names, predictions, references, evaluation=evaluation)
    assert scores.metrics["exact_match"].tolist() == [1, 1, 0, 0]
    assert all(scores.metrics[name][2:].sum() == 0 for name in names)
    assert scores.metrics[UNMATCHED].tolist() == [0, 0, 1, 1]
    assert scores.aggregate[UNMATCHED] == 0.5
    assert scores.statistics[UNMATCHED].sum(axis=0).tolist() == [2, 4]
    assert all(text.endswith(f"|extract:{LAST_NUMBER}") for text in scores.signatures.values())


def test_settings_of_the_study_reach_the_metrics():
    evaluation = EvaluationSpec(language="en", bleu_tokenizer="char", rouge_stemmer=True)
    scores = score_parts(["bleu", "rouge_score_1"], ["cats"], ["cat s"], evaluation=evaluation)
    assert "tok:char" in scores.signatures["bleu"] and "stem:porter" in scores.signatures["rouge_score_1"]
    assert UNMATCHED not in scores.aggregate
