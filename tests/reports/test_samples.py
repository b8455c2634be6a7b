from loratory.objectives.scores import Prediction
from loratory.reports.samples import LONGEST_TEXT, samples


def prediction(example_id: str, text: str = "answer") -> Prediction:
    return Prediction(example_id=example_id, group="", prompt="p", reference="r", prediction=text)


def by_id(*predictions: Prediction) -> dict[str, Prediction]:
    return {p.example_id: p for p in predictions}


def test_the_draw_does_not_hang_on_order_or_answers() -> None:
    ids = [f"e{i}" for i in range(50)]
    forward = samples(by_id(*(prediction(i, "good") for i in ids)), {}, metric="rougeL")
    backward = samples(by_id(*(prediction(i, "bad") for i in reversed(ids))), {}, metric="rougeL")
    assert [s.example_id for s in forward] == [s.example_id for s in backward]
    assert len(forward) == 8
    assert [s.example_id for s in forward] != ids[:8]


def test_base_stands_beside_the_best_where_it_has_the_example() -> None:
    best = by_id(prediction("a", "tuned"), prediction("b", "tuned"))
    found = {s.example_id: s for s in samples(best, by_id(prediction("a", "raw")), metric="rougeL")}
    assert found["a"].base is not None
    assert found["a"].base.text == "raw"
    assert found["b"].base is None


def test_long_texts_are_cut_and_say_by_how_much() -> None:
    (sample,) = samples(by_id(prediction("a", "y" * (LONGEST_TEXT + 5))), {}, metric="rougeL")
    assert sample.best.text.endswith("… (5 more characters)")
    assert len(sample.best.text) < LONGEST_TEXT + 40


def test_text_that_is_no_utf8_can_still_be_written() -> None:
    (sample,) = samples(by_id(prediction("a", "half \ud83d of a pair")), {}, metric="rougeL")
    assert sample.best.text.encode()
