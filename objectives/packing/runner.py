"""Runs passes: eagerly, or on a GPU as CUDA graphs, one per shape, captured when the shape first comes."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.passes import HostPass, PassInputs, padding_pass
from loratory.objectives.packing.shapes import PassShape

# CUDA's error codes for failed captures, after which the device still works.
_CAPTURE_ERRORS = range(900, 909)

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_Key = tuple[str, PassShape]

Work = Callable[[PassInputs], torch.Tensor]
"""A function that runs a pass, forward and maybe backward, without waiting for the device."""


@dataclass
class _Captured:
    """A graph with the inputs that it reads and the output that it writes."""

    inputs: PassInputs
    output: torch.Tensor
    graph: torch.cuda.CUDAGraph


class PassRunner:
    """Launches passes without waiting for them.

    A pass in fine-tuning is hundreds of short kernels, and launching them one by one takes longer than
    running them. A graph is one launch.
    """

    def __init__(self, device: torch.device, *, graphs: bool, most_graphs: int = 64) -> None:
        """Start without graphs.

        Args:
            device: where passes run.
            graphs: whether to capture graphs; on a CPU none are captured.
            most_graphs: the least recently used graph is dropped where there are more; reserved ones stay.
        """
        self.device, self.graphs = device, graphs and device.type == "cuda"
        self._most = most_graphs
        self._captured: OrderedDict[_Key, _Captured] = OrderedDict()
        self._eager: set[_Key] = set()
        self._reserved: set[_Key] = set()
        self._refused: set[_Key] = set()
        self._warm: set[str] = set()
        self._pool: Any = None

    def run(self, name: str, host: HostPass, work: Work) -> torch.Tensor:
        """Run a pass.

        Args:
            name: of the work; passes of one name and shape share a graph.
            host: the pass.
            work: the function that runs it. It reads its inputs and tensors that never move, so that a graph
                of it can be replayed on other inputs, and it changes nothing on a pass of padding.

        Returns:
            The output of `work`; the next pass of the same name and shape overwrites it.
        """
        key = (name, host.shape)
        if not self.graphs or key in self._eager:
            return work(self._upload(host, None))
        if key not in self._captured and not self._capture(key, work):
            return work(self._upload(host, None))
        captured = self._captured[key]
        self._captured.move_to_end(key)
        self._upload(host, captured.inputs)
        captured.graph.replay()
        return captured.output

    def reserve(self, name: str, shape: PassShape, work: Work) -> None:
        """Capture the graph of a large shape, to be called before smaller shapes come.

        Graphs share one memory pool. The graphs of smaller shapes fit into the memory of a large one, while a
        pool that grows shape by shape becomes much larger than the largest graph needs. On a GPU without
        graphs a pass of padding runs, to find out whether the memory suffices.
        """
        if not self.graphs:
            if self.device.type == "cuda":
                work(padding_pass(shape, self.device))
            return
        self._reserved.add((name, shape))
        if (name, shape) not in self._captured:
            self._capture((name, shape), work)

    def clear(self) -> None:
        """Drop all graphs and free their memory; shapes that could not be captured will be tried again."""
        self._captured.clear()
        self._eager.clear()
        self._refused.clear()
        self._pool = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _upload(self, host: HostPass, into: PassInputs | None) -> PassInputs:
        """Copy a pass to the device, into existing inputs where given."""
        if self.device.type == "cpu":
            return host.inputs
        # A copy from memory that is not pinned would wait for earlier passes.
        pinned = torch.from_numpy(host.buffer).pin_memory()
        if into is not None:
            into.buffer.copy_(pinned, non_blocking=True)
            return into
        return PassInputs.over(pinned.to(self.device, non_blocking=True), host.shape, host.spans)

    def _capture(self, key: _Key, work: Work) -> bool:
        """Capture a graph; return False where that is refused now.

        Where memory ends, all graphs are dropped and the capture is tried once more.
        """
        captured: _Captured | None = None
        for again in (False, True):
            try:
                captured = self._captured_once(key, work)
                break
            except RuntimeError as error:
                if refuses_capture(error):
                    self._note_refusal(key, error)
                    return False
                if again or not (is_out_of_memory(error) and self._captured):
                    raise
            # Graphs of smaller passes will fit into the memory of this one, but not the reverse.
            self.clear()
        assert captured is not None
        self._drop_oldest()
        self._captured[key] = captured
        return True

    def _captured_once(self, key: _Key, work: Work) -> _Captured:
        """Capture a graph, after a first eager run of its work."""
        name, shape = key
        if name not in self._warm:
            # The eager run compiles kernels and lets libraries allocate workspaces. A small pass will do; one
            # of this shape would need its memory twice, here and in its graph.
            work(padding_pass(shape.smallest, self.device))
            self._warm.add(name)
        inputs = padding_pass(shape, self.device)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, output = capture(lambda: work(inputs), pool=self._pool)
        return _Captured(inputs, output, graph)

    def _note_refusal(self, key: _Key, error: RuntimeError) -> None:
        """Note that a capture was refused; after the second time the shape runs eagerly for good.

        The first time something may have been loaded lazily, which the second capture finds loaded.
        """
        if key in self._refused:
            self._eager.add(key)
            _log.warning("passes of %s run without a CUDA graph: %s", key, short_message(error))
        self._refused.add(key)
        self._pool = None  # the failed capture may have left it unusable

    def _drop_oldest(self) -> None:
        """Drop the least recently used graphs until one more may be added; reserved graphs stay."""
        others = [key for key in self._captured if key not in self._reserved]
        for key in others[: max(0, len(self._captured) + 1 - self._most)]:
            del self._captured[key]


def capture(work: Callable[[], _T], *, pool: Any) -> tuple[torch.cuda.CUDAGraph, _T]:
    """Capture a CUDA graph.

    Args:
        work: the function to capture; its kernels have run before, on inputs of any size.
        pool: the memory pool of the graph.

    Returns:
        The graph and the output of `work`.
    """
    # A graph cannot use the memory that the allocator caches for eager work.
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph()
    # `thread_local`: other threads may use the device meanwhile. The outer stream context restores the
    # current stream, which a failed capture would leave on its own.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        output = work()
    return graph, output


def refuses_capture(error: RuntimeError) -> bool:
    """Return whether an error only means that work cannot be captured, so that it may run eagerly.

    False where memory ran out or the device is lost.
    """
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) in _CAPTURE_ERRORS
    return not is_out_of_memory(error)


def short_message(error: RuntimeError) -> str:
    """Return the beginning of an error's message, in one line."""
    return " ".join(str(error).split())[:300]
