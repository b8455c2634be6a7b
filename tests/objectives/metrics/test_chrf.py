import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from loratory.objectives.metrics import aggregate_from_statistics, score_texts

TEXT = st.text(st.sampled_from("ab cd值返回データ,.é"), max_size=25)


def chrf(predictions, references):
    return score_texts(["chrf"], predictions, references)


def test_corpus_and_sentences_are_sacrebleus(pairs):
    predictions, references = pairs
    scores, oracle = chrf(predictions, references), CHRF()
    assert scores.aggregate["chrf"] == oracle.corpus_score(predictions, [references]).score
    assert scores.signatures["chrf"] == str(oracle.get_signature())
    expected = [oracle.sentence_score(p, [r]).score for p, r in zip(predictions, references, strict=True)]
    assert scores.metrics["chrf"].tolist() == expected


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_summed_statistics_of_any_resample_give_its_corpus_score(texts, random):
    predictions, references = map(list, zip(*texts, strict=True))
    drawn = np.array([random.randrange(len(texts)) for _ in texts])
    statistics = chrf(predictions, references).statistics["chrf"]
    oracle = CHRF().corpus_score([predictions[i] for i in drawn], [[references[i] for i in drawn]])
    assert aggregate_from_statistics("chrf", statistics[drawn].sum(axis=0)) == oracle.score
