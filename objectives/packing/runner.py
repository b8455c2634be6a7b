"""Runs passes: eagerly, or on a GPU as CUDA graphs, one for each shape, captured when it first comes."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.passes import HostPass, PassInputs, nobodys_pass
from loratory.objectives.packing.shapes import PassShape

# Codes of CUDA's errors that come from capturing: the device is well.
_CAPTURE_ERRORS = range(900, 909)

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_Key = tuple[str, PassShape]

Work = Callable[[PassInputs], torch.Tensor]
"""What is done with a pass; forward and maybe backward, no waiting for the device."""


@dataclass
class _Captured:
    inputs: PassInputs
    output: torch.Tensor
    graph: torch.cuda.CUDAGraph


class PassRunner:
    """Launches passes without waiting for them.

    In fine-tuning a pass is hundreds of short kernels, and launching them one by one takes longer than
    running them. A graph is one launch.
    """

    def __init__(self, device: torch.device, *, graphs: bool, most_graphs: int = 64) -> None:
        """Nothing is captured yet.

        Args:
            device: where passes run.
            graphs: whether to capture; only on a GPU.
            most_graphs: the one not used for longest goes when there are more, but none that was reserved.
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
        """Do some work with a pass.

        Args:
            name: of the work; passes of one name and shape share a graph.
            host: the pass.
            work: reads the inputs it is given and tensors that stay where they are, so that it can be
                repeated on other inputs; with nobody's tokens in a pass it must change nothing.

        Returns:
            What the work gave; it is overwritten by the next pass of the same name and shape.
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
        """Capture a large shape before smaller ones, whose graphs then live in its memory.

        Graphs share one pool, and a pool that grows shape by shape comes to hold much more than its largest.
        """
        self._reserved.add((name, shape))
        if self.graphs and (name, shape) not in self._captured:
            self._capture((name, shape), work)

    def clear(self) -> None:
        """Forget all graphs and give their memory back; what could not be captured is tried again."""
        self._captured.clear()
        self._eager.clear()
        self._refused.clear()
        self._pool = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _upload(self, host: HostPass, into: PassInputs | None) -> PassInputs:
        if self.device.type == "cpu":
            return host.inputs
        # Pinned, or the copy would wait for the passes before it.
        pinned = torch.from_numpy(host.buffer).pin_memory()
        if into is not None:
            into.buffer.copy_(pinned, non_blocking=True)
            return into
        return PassInputs.over(pinned.to(self.device, non_blocking=True), host.shape, host.spans)

    def _capture(self, key: _Key, work: Work) -> bool:
        """Make a graph; false where none can be made now."""
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
            # The graphs of smaller passes fit into the memory of this one, not the other way round.
            self.clear()
        assert captured is not None
        self._drop_oldest()
        self._captured[key] = captured
        return True

    def _captured_once(self, key: _Key, work: Work) -> _Captured:
        name, shape = key
        if name not in self._warm:
            # Kernels are compiled, and libraries allocate what they need. A small pass does that as well
            # as one of this shape, which would need its memory twice: here, and in its graph.
            work(nobodys_pass(shape.smallest, self.device))
            self._warm.add(name)
        inputs = nobodys_pass(shape, self.device)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph, output = capture(lambda: work(inputs), pool=self._pool)
        return _Captured(inputs, output, graph)

    def _note_refusal(self, key: _Key, error: RuntimeError) -> None:
        """What was refused runs eagerly, and is tried once more when it comes again: all is loaded then."""
        if key in self._refused:
            self._eager.add(key)
            _log.warning("passes of %s run without a CUDA graph: %s", key, in_short(error))
        self._refused.add(key)
        self._pool = None  # it may be left in the middle of a capture

    def _drop_oldest(self) -> None:
        """Make room for one graph more; those that were reserved stay."""
        others = [key for key in self._captured if key not in self._reserved]
        for key in others[: max(0, len(self._captured) + 1 - self._most)]:
            del self._captured[key]


def capture(work: Callable[[], _T], *, pool: Any) -> tuple[torch.cuda.CUDAGraph, _T]:
    """Make a CUDA graph.

    Args:
        work: what is captured; its kernels have run before, on inputs of any size.
        pool: where its memory comes from.

    Returns:
        The graph and what the work gave.
    """
    # What eager work took before lies in a reserve that a graph cannot use.
    torch.cuda.empty_cache()
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile. A capture that fails would stay on its own stream.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        output = work()
    return graph, output


def refuses_capture(error: RuntimeError) -> bool:
    """Whether work cannot be captured but may run eagerly: neither memory ran out nor is the device lost."""
    if isinstance(error, torch.AcceleratorError):
        return getattr(error, "error_code", None) in _CAPTURE_ERRORS
    return not is_out_of_memory(error)


def in_short(error: RuntimeError) -> str:
    """The beginning of an error's message, in one line."""
    return " ".join(str(error).split())[:300]
