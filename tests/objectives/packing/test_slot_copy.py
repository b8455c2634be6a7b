import torch

from loratory.objectives.packing.slot_copy import SlotCopy

LIKE = {"a": torch.empty(2, 3, device="meta"), "b": torch.empty(4, 1, device="meta")}


def test_a_copy_comes_with_names_and_shapes():
    numbers = torch.arange(10.0)
    moments = {"exp_avg": numbers + 10, "step": torch.tensor(3.0)}
    state = SlotCopy(matrices=numbers, moments=moments, scaler={"scale": 2.0}, like=LIKE).fetch()
    assert {name: matrix.tolist() for name, matrix in state.matrices.items()} == {
        "a": [[0, 1, 2], [3, 4, 5]],
        "b": [[6], [7], [8], [9]],
    }
    assert state.moments["exp_avg"]["b"].flatten().tolist() == [16, 17, 18, 19]
    assert float(state.moments["step"]) == 3 and state.scaler == {"scale": 2.0}
