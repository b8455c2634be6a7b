import pytest

from loratory.objectives.data.encoding import Encoder
from loratory.objectives.data.rendering import choose_renderer
from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.objectives.data.special_tokens import AnswerReader, special_ids


@pytest.fixture(scope="module")
def with_fields(make_tokenizer):
    """A tokenizer whose added special tokens are fields of an answer."""

    def make(template=None, **options):
        tokenizer = make_tokenizer(template, **options)
        tokenizer.add_special_tokens({"additional_special_tokens": ["<s_name>", "</s_name>"]})
        return tokenizer

    return make


def encode(tokenizer, *answers):
    ledger, renderer = Ledger(), choose_renderer(tokenizer, None)
    encoder = Encoder(tokenizer, renderer)
    rows = [
        Row(
            raw=RawRow(file="a.jsonl", number=1, fields={}),
            turns=(Turn(Role.USER, "who?"),),
            answer=answer,
            group=None,
        )
        for answer in answers
    ]
    return encoder.encode(rows, Part.TRAIN, ledger), encoder.kept_ids, ledger


def test_special_tokens_of_an_answer_are_learned_and_read(with_fields):
    tokenizer = with_fields()
    (example,), kept, ledger = encode(tokenizer, "<s_name>the river</s_name>")
    assert ledger.entries == []
    assert example.reference == "<s_name>the river</s_name>"
    assert tokenizer.decode(example.answer_ids) == "<s_name>the river</s_name></s>"
    assert kept == set(tokenizer.convert_tokens_to_ids(["<s_name>", "</s_name>"]))
    read = AnswerReader(tokenizer, kept)
    assert read(example.answer_ids) == example.reference
    assert AnswerReader(tokenizer)(example.answer_ids) == "the river"


def test_only_end_padding_and_end_of_turn_are_left_out(with_fields, templates):
    tokenizer = with_fields(templates["CHATML"], pad_token="<|im_start|>")
    (example,), kept, _ = encode(tokenizer, "<s_name>x</s_name>")
    assert tokenizer.decode(example.answer_ids) == "<s_name>x</s_name><|im_end|></s>"
    read = AnswerReader(tokenizer, kept)
    assert read([*example.answer_ids, tokenizer.pad_token_id]) == "<s_name>x</s_name>"


def test_nothing_is_kept_where_no_answer_has_such_tokens(with_fields):
    tokenizer = with_fields()
    (example,), kept, _ = encode(tokenizer, "the river")
    assert kept == set()
    foreign = tokenizer.convert_tokens_to_ids("<s_name>")
    assert AnswerReader(tokenizer, kept)([foreign, *example.answer_ids]) == "the river"


def test_an_end_of_turn_inside_an_answer_is_still_refused(with_fields, templates):
    kept_rows, kept, ledger = encode(with_fields(templates["CHATML"]), "a<|im_end|>b")
    assert (kept_rows, kept) == ([], set())
    assert "the learned tokens read 'ab'" in ledger.entries[0]["detail"]


def test_tokens_that_only_the_vocabulary_marks_as_special(make_tokenizer):
    from tokenizers import AddedToken

    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken("<call>", special=True), AddedToken("<plain>", special=False)])
    call, plain = tokenizer.convert_tokens_to_ids(["<call>", "<plain>"])
    assert call in special_ids(tokenizer)
    assert plain not in special_ids(tokenizer)
    (example,), kept, _ = encode(tokenizer, "<call>x<plain>")
    assert kept == {call}
    assert AnswerReader(tokenizer, kept)(example.answer_ids) == "<call>x<plain>"


def test_prepared_data_names_them(with_fields, prepare, write_jsonl, alpaca_rows):
    rows = [{**row, "output": f"<s_name>{row['output']}</s_name>"} for row in alpaca_rows(40)]
    tokenizer = with_fields()
    found = prepare(write_jsonl(rows), using=tokenizer)
    assert found.data.kept_ids == tuple(tokenizer.convert_tokens_to_ids(["<s_name>", "</s_name>"]))
    assert b'"<s_name>"' in found.files["examples.json"]
    assert found.data.dev[0].reference.startswith("<s_name>The")
