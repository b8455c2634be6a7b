import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from loratory.objectives.metrics import aggregate_from_statistics, score_texts

WORDS = st.lists(
    st.sampled_from(["a", "the", "return", "值", "返回", "データ", "x,y", "\t", "é"]), max_size=9
)
TEXTS = st.lists(st.tuples(WORDS.map(" ".join), st.text(max_size=20) | WORDS.map(" ".join)), min_size=1)


def bleu(predictions, references, **options):
    return score_texts(["bleu"], predictions, references, **options)


def test_corpus_and_sentences_are_sacrebleus(pairs, request):
    predictions, references = pairs
    tokenizer = {"en": "13a", "zh": "zh", "ja": "char"}[request.node.callspec.id]
    scores = bleu(predictions, references)
    oracle = BLEU(tokenize=tokenizer)
    assert scores.aggregate["bleu"] == oracle.corpus_score(predictions, [references]).score
    assert scores.signatures["bleu"] == str(oracle.get_signature())
    sentence = BLEU(tokenize=tokenizer, effective_order=True)
    expected = [sentence.sentence_score(p, [r]).score for p, r in zip(predictions, references, strict=True)]
    assert scores.metrics["bleu"].tolist() == expected


def test_chinese_is_not_one_word():
    right = bleu(["今天天气不错,我们去公园"], ["今天天气很好,我们去公园"])
    assert right.aggregate["bleu"] > 40
    assert (
        bleu(["今天天气不错,我们去公园"], ["今天天气很好,我们去公园"], language="en").aggregate["bleu"] == 0
    )


def test_a_named_language_sets_the_tokenizer():
    assert "tok:zh" in bleu(["ok"], ["ok"], language="zh").signatures["bleu"]
    assert "tok:13a" in bleu(["好"], ["好"], language="en").signatures["bleu"]


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_corpus_is_sacrebleus_on_random_text(texts):
    predictions, references = map(list, zip(*texts, strict=True))
    oracle = BLEU(tokenize="13a").corpus_score(predictions, [references])
    assert bleu(predictions, references, language="en").aggregate["bleu"] == oracle.score


def test_summed_statistics_of_a_resample_give_its_corpus_score(pairs):
    predictions, references = pairs
    statistics = bleu(predictions, references, language="en").statistics["bleu"]
    drawn = np.array([0, 0, 2, 1])
    oracle = BLEU().corpus_score([predictions[i] for i in drawn], [[references[i] for i in drawn]])
    assert aggregate_from_statistics("bleu", statistics[drawn].sum(axis=0)) == oracle.score


@pytest.mark.parametrize(("prediction", "reference"), [("", "a b"), ("a b", ""), ("", ""), ("   ", "a")])
def test_an_empty_side_scores_zero(prediction, reference):
    scores = bleu([prediction], [reference])
    assert scores.aggregate["bleu"] == scores.metrics["bleu"][0] == 0


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "char", "zh", "none"])
def test_a_named_tokenizer_gives_sacrebleus_score(pairs, tokenizer):
    predictions, references = pairs
    scores = bleu(predictions, references, language="ja", bleu_tokenizer=tokenizer)
    oracle = BLEU(tokenize=tokenizer, force=True)
    assert scores.aggregate["bleu"] == oracle.corpus_score(predictions, [references]).score
    assert scores.signatures["bleu"] == str(oracle.get_signature())
