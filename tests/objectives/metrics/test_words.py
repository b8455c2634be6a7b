import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from loratory.objectives.metrics.words import answer_words, rouge_words

ASCII = st.text(st.sampled_from(string.printable))


@given(ASCII)
def test_rouge_words_of_ascii_are_those_of_rouge_score(text):
    assert rouge_words(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)


@given(ASCII)
def test_answer_words_of_ascii_are_those_of_squad(text):
    # SQuAD's normalisation, step by step: lower case, no punctuation, no articles, split at white space.
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    assert answer_words(text) == re.sub(r"\b(a|an|the)\b", " ", plain).split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("返回JSON格式,长度10", ["返", "回", "json", "格", "式", "长", "度", "10"]),
        ("データを 読む。", ["デ", "ー", "タ", "を", "読", "む"]),
        ("Ça va? Über-Straße", ["ça", "va", "über", "straße"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ １２", ["full", "width", "12"]),
        ("두 수의 합", ["두", "수의", "합"]),
        ("ok 👍 (done)", ["ok", "👍", "done"]),
        ("e\u0301te\u0301", ["été"]),
        ("", []),
    ],
)
def test_rouge_words_of_other_scripts(text, words):
    assert rouge_words(text) == words


def test_answer_words_drop_punctuation_and_articles_of_any_script():
    assert answer_words("《返回》the JSON、一个 A 值") == ["返", "回", "json", "一", "个", "值"]


def test_emoji_are_words():
    assert answer_words("👍") != answer_words("👎")


@given(st.text())
def test_any_text_splits_into_non_empty_words(text):
    assert all(rouge_words(text))
    assert all(answer_words(text))
