import pytest

from loratory.objectives.data.batch_tokenizer import BatchTokenizer

TEXTS = ["please describe the river", "", "河 <|im_end|> x", "  two  spaces ", "e\u0301"]


@pytest.mark.parametrize("adds_bos", [False, True])
def test_texts_are_encoded_and_decoded_as_the_tokenizer_does(make_tokenizer, adds_bos):
    tokenizer = make_tokenizer(adds_bos=adds_bos)
    batch = BatchTokenizer(tokenizer)
    ids = batch.ids(TEXTS)
    assert ids == tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert batch.texts(ids) == decoded
    assert batch.ids([]) == batch.texts([]) == []


def test_a_tokenizer_with_rules_of_its_own_is_followed(make_tokenizer):
    tokenizer = make_tokenizer()
    plain = tokenizer.__class__.__call__

    class Shouting(tokenizer.__class__):
        def __call__(self, text, **options):
            return plain(self, [part.upper() for part in text], **options)

    tokenizer.__class__ = Shouting
    batch = BatchTokenizer(tokenizer)
    assert batch.ids(["river"]) == tokenizer(["river"], add_special_tokens=False)["input_ids"]
    assert batch.texts(batch.ids(["river"])) == ["RIVER"]


def test_a_tokenizer_without_a_fast_one_is_asked_itself(tokenizer):
    class Slow:
        def __call__(self, texts, **options):
            return tokenizer(texts, **options)

        def batch_decode(self, sequences, **options):
            return tokenizer.batch_decode(sequences, **options)

    assert BatchTokenizer(Slow()).ids(TEXTS) == BatchTokenizer(tokenizer).ids(TEXTS)
