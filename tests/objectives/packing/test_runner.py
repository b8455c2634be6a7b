import torch

from loratory.objectives.packing.passes import Piece, exact_shape, lay_out
from loratory.objectives.packing.runner import PassRunner


def host(ids):
    pieces = [Piece(slot=0, input_ids=ids, first=0, targets=ids)]
    return lay_out(pieces, exact_shape(pieces, slots=1, granule=8))


def test_on_a_cpu_each_pass_is_done_as_it_comes():
    runner = PassRunner(torch.device("cpu"), graphs=True)
    assert not runner.graphs
    seen = []

    def work(inputs):
        seen.append(inputs.input_ids[0, :3].tolist())
        return inputs.input_ids.sum()

    assert [int(runner.run("sum", host(ids), work)) for ids in ([1, 2, 3], [4, 5, 6])] == [6, 15]
    assert seen == [[1, 2, 3], [4, 5, 6]]  # nothing was captured or warmed up
    runner.clear()
    assert int(runner.run("sum", host([7]), work)) == 7
