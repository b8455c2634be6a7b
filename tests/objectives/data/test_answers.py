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


@pytest.mark.parametrize(
    ("answer", "evaluation", "message"),
    [
        ("<think>7 coins</think>none", {"extract": r"\d+"}, r"evaluation.extract .* finds none in 'none'"),
        ("<think>7 coins</think>", {}, "score_thoughts: false must leave an answer after the thought"),
    ],
)
def test_an_answer_within_a_thought_that_is_not_scored_is_none(
    prepare, write_jsonl, alpaca_rows, answer, evaluation, message
):
    rows = alpaca_rows(8, start=100)
    rows[3] |= {"output": answer}
    train, held = write_jsonl(alpaca_rows(20)), write_jsonl(rows, "eval.jsonl")
    with pytest.raises(InputError, match=rf"eval.jsonl.*4: .*{message}.*1 of 8"):
        prepare(train, eval=held, evaluation={"score_thoughts": False, **evaluation})
    assert prepare(train, eval=held, evaluation=evaluation).data.select
