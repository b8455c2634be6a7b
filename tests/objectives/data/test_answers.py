import pytest

from loratory.spaces.errors import InputError


def test_a_reference_without_an_answer_to_score_is_refused_with_its_row(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(8, start=100)
    rows[3] |= {"output": "no coins at all"}
    train, held = write_jsonl(alpaca_rows(20)), write_jsonl(rows, "eval.jsonl")
    with pytest.raises(InputError, match=r"eval.jsonl.*4: evaluation.extract .*'no coins at all'.*1 of 8"):
        prepare(train, eval=held, evaluation={"extract": r"\d+"})


def test_train_may_have_rows_without_one(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(20)
    rows[3] |= {"output": "no coins at all"}
    held = write_jsonl(alpaca_rows(8, start=100), "eval.jsonl")
    found = prepare(write_jsonl(rows), eval=held, evaluation={"extract": r"cost (\d+)"})
    assert len(found.data.train) == 20
    assert "coins." in found.data.select[0].reference, "the whole answer is learned and kept"
