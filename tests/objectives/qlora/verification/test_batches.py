import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.qlora.verification.batches import collate, collate_prompts, longest_first

CPU = torch.device("cpu")


def example(prompt, answer):
    return Example(
        example_id="x",
        group="x",
        prompt="",
        reference="",
        prompt_ids=tuple(prompt),
        answer_ids=tuple(answer),
    )


EXAMPLES = [example([11, 12, 13], [14, 2]), example([21], [22, 23, 24, 25, 2])]


def test_training_batch_is_padded_on_the_right_and_points_before_each_answer_token():
    batch = collate(EXAMPLES, padding_id=0, device=CPU)
    assert batch.input_ids.tolist() == [[11, 12, 13, 14, 0], [21, 22, 23, 24, 25]]
    assert batch.rows.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert batch.columns.tolist() == [2, 3, 0, 1, 2, 3, 4]
    assert batch.targets.tolist() == [14, 2, 22, 23, 24, 25, 2]


def test_prompts_are_padded_on_the_left():
    ids, mask = collate_prompts(EXAMPLES, padding_id=9, device=CPU)
    assert ids.tolist() == [[11, 12, 13], [9, 9, 21]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_longest_come_first_and_equals_in_order():
    assert longest_first([3, 5, 3, 8]) == [3, 1, 0, 2]
