from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.packing import runner as runner_module
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.runner import PassRunner, refuses_capture
from loratory.objectives.packing.shapes import Piece, exact_shape


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


def shape(number):
    pieces = [Piece(slot=0, input_ids=[1] * number, first=0, targets=[1] * number)]
    return exact_shape(pieces, slots=1, granule=8)


def work(inputs):
    return inputs.input_ids.sum()


class Lost(torch.AcceleratorError):
    error_code = 700


class Refused(torch.AcceleratorError):
    error_code = 900


@pytest.fixture
def capturing(monkeypatch):
    """A runner that believes to capture: a graph does nothing, and errors are raised in turn."""
    runner, errors = PassRunner(torch.device("cpu"), graphs=True, most_graphs=2), []
    runner.graphs = True

    def captured(key, work):
        if errors:
            raise errors.pop(0)
        graph = SimpleNamespace(replay=lambda: None)
        return SimpleNamespace(inputs=None, output=torch.tensor(-1), graph=graph)

    monkeypatch.setattr(runner, "_captured_once", captured)
    return runner, errors


def test_a_graph_that_was_reserved_is_never_driven_out(capturing):
    runner, _ = capturing
    runner.reserve("sum", shape(64), work)
    for number in (8, 16, 24):
        assert int(runner.run("sum", host([1] * number), work)) == -1
    assert [key[1].tokens for key in runner._captured] == [64, 24]
    runner.reserve("sum", shape(72), work)
    runner.run("sum", host([1] * 8), work)
    assert [key[1].tokens for key in runner._captured] == [64, 72, 8]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too much"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        Lost("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_memory_and_a_lost_device_are_no_reason_to_run_eagerly(capturing, error):
    runner, errors = capturing
    errors.append(error)
    with pytest.raises(type(error), match=str(error)[:10]):
        runner.run("sum", host([1, 2]), work)
    assert not runner._eager and not refuses_capture(error)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")])
def test_smaller_graphs_go_where_there_is_no_memory_for_another(capturing, error):
    runner, errors = capturing
    runner.run("sum", host([1] * 8), work)
    errors.append(error)
    runner.run("sum", host([1] * 16), work)
    assert [key[1].tokens for key in runner._captured] == [16]


@pytest.mark.parametrize("error", [RuntimeError("not allowed"), Refused("CUDA error: not permitted")])
def test_what_cannot_be_captured_is_tried_once_more_and_then_runs_eagerly(capturing, error):
    runner, errors = capturing
    errors += [error, error]
    assert [int(runner.run("sum", host([1, 2]), work)) for _ in range(3)] == [3, 3, 3]
    assert not errors
    runner.clear()
    assert int(runner.run("sum", host([1, 2]), work)) == -1
    errors.append(error)
    assert [int(runner.run("sum", host([1] * 8), work)) for _ in range(2)] == [8, -1]


@pytest.fixture
def pretending(monkeypatch):
    """A runner whose graphs hold what the work gave when it was captured."""
    runner = PassRunner(torch.device("cpu"), graphs=True)
    runner.graphs = True
    monkeypatch.setattr(runner_module, "capture", lambda work, pool: (None, work()))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    return runner


def test_a_small_pass_runs_before_the_first_capture_alone(pretending):
    tokens = []

    def counted(inputs):
        tokens.append(inputs.input_ids.numel())
        return inputs.input_ids.sum()

    for number in (128, 256):
        pretending.reserve("sum", shape(number), counted)
    assert tokens == [64, 128, 256]


def test_memory_that_runs_out_in_the_small_pass_drops_other_graphs_too(pretending):
    errors = []

    def scarce(inputs):
        if errors:
            raise errors.pop()
        return inputs.input_ids.sum()

    pretending.reserve("sum", shape(8), scarce)
    errors.append(torch.OutOfMemoryError("too much"))
    pretending.reserve("another", shape(8), scarce)
    assert [name for name, _ in pretending._captured] == ["another"]


def test_without_graphs_a_gpu_tries_the_largest_pass_once(monkeypatch):
    runner, seen = PassRunner(torch.device("cpu"), graphs=False), []
    runner.reserve("sum", shape(64), seen.append)
    assert not seen
    monkeypatch.setattr(runner, "device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(
        "loratory.objectives.packing.runner.padding_pass", lambda shape, _: ("padding", shape.tokens)
    )
    runner.reserve("sum", shape(64), seen.append)
    assert seen == [("padding", 64)] and not runner._captured
