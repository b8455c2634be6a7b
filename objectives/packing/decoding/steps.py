"""Steps of greedy decoding, several at a time without waiting for the device."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.packing.decoding.cache import DecodeLayout, KeyValueCache
from loratory.objectives.packing.decoding.pages import pages_for
from loratory.objectives.packing.decoding.rows import GRANULE, RowState
from loratory.objectives.packing.kernels.selection import uses_triton
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import PassInputs
from loratory.objectives.packing.runner import capture, refuses_capture, short_message
from loratory.objectives.packing.segments import Span
from loratory.objectives.packing.shapes import PassShape, round_up
from loratory.objectives.packing.stack import AdapterStack

STEPS = 8
"""Steps per call of `DecodeSteps.run`."""

_log = logging.getLogger(__name__)


@dataclass
class _Chunk:
    """The tensors of `STEPS` steps over the first M rows; they never move.

    Attributes:
        host: the pass on the CPU, see `PassInputs`.
        inputs: the same pass on the device: token, position and slot of each row.
        host_table: int32 [M, P] on the CPU, the pages of each row.
        table: the same on the device.
        output: int32 [STEPS, M], the new tokens.
        graph: the graph of all steps; None where they run eagerly.
    """

    host: PassInputs
    inputs: PassInputs
    host_table: torch.Tensor
    table: torch.Tensor
    output: torch.Tensor
    graph: torch.cuda.CUDAGraph | None = None

    @classmethod
    def over(cls, table: torch.Tensor, *, slots: int, device: torch.device) -> "_Chunk":
        """Allocate the tensors for rows with the pages in `table`, int32 [M, P] on the CPU."""
        rows = len(table)
        shape = PassShape(tokens=rows, sequences=rows, longest=1, targets=rows, slots=slots, granule=GRANULE)
        buffer = torch.zeros(sum(shape.sizes.values()), dtype=torch.int32)
        host = PassInputs.over(buffer, shape, ())
        host.places.copy_(torch.arange(rows))
        host.segments.block_slots.fill_(-1)
        inputs = host if device.type == "cpu" else PassInputs.over(buffer.to(device), shape, ())
        output = torch.zeros(STEPS, rows, dtype=torch.int32, device=device)
        return cls(host, inputs, table, table.to(device), output)

    def upload(self, state: RowState) -> None:
        """Copy the state of the rows to the device."""
        self.host.input_ids[0] = torch.from_numpy(state.tokens)
        self.host.position_ids[0] = torch.from_numpy(state.lengths)
        self.host.segments.block_slots.copy_(torch.from_numpy(state.block_slots))
        self.host_table.copy_(torch.from_numpy(state.table))
        if self.inputs.buffer is not self.host.buffer:
            self.inputs.buffer.copy_(self.host.buffer.pin_memory(), non_blocking=True)
            self.table.copy_(self.host_table.pin_memory(), non_blocking=True)
        # The plain products read the spans; graphs do not.
        self.inputs = replace(self.inputs, segments=replace(self.inputs.segments, spans=_spans(state)))


class DecodeSteps:
    """Decodes rows of a cache, with CUDA graphs for a few numbers of rows."""

    def __init__(
        self,
        model: PackedModel,
        stack: AdapterStack,
        cache: KeyValueCache,
        *,
        rows: int,
        positions: int,
        end_ids: Iterable[int],
        last: int,
        graphs: bool,
    ) -> None:
        """Start without graphs.

        Args:
            model: the base.
            stack: the adapters.
            cache: the keys and values of the rows.
            rows: most rows.
            positions: positions of the longest row.
            end_ids: every token that ends an answer.
            last: upper bound on the position of a token.
            graphs: whether to capture graphs; on a CPU none are captured.
        """
        self._model, self._stack, self._cache = model, stack, cache
        self._rows, self._row_pages = rows, pages_for(positions)
        self._end_ids, self._last = np.array(list(end_ids)), last
        self._graphs = graphs and uses_triton(model.device, model.compute_dtype)
        self._chunks: dict[int, _Chunk] = {}
        self._pool: Any = None

    def rows_for(self, used: int) -> int:
        """Return the rows of a chunk for `used` rows in use: one of few sizes where each is a graph."""
        if self._graphs:
            used = GRANULE << (-(-used // GRANULE) - 1).bit_length()
        return min(used, round_up(self._rows, GRANULE))

    def clear(self) -> None:
        """Drop all graphs and free their memory."""
        self._chunks.clear()
        self._pool = None

    def run(self, state: RowState) -> NDArray[np.int32]:
        """Decode several steps.

        Args:
            state: the rows.

        Returns:
            int32 [steps, M], the new tokens: `STEPS` per row, or fewer where no row needs more.
        """
        rows = len(state.tokens)
        if rows not in self._chunks:
            self._chunks[rows] = self._prepare(rows)
        chunk = self._chunks[rows]
        chunk.upload(state)
        steps = STEPS
        if chunk.graph is None:
            steps = self._decode(chunk, min(STEPS, state.most), state.running)
        else:
            chunk.graph.replay()
        return chunk.output[:steps].cpu().numpy().copy()

    def _decode(self, chunk: _Chunk, steps: int, running: NDArray[np.bool_] | None = None) -> int:
        """Decode at most `steps` steps, and return their number.

        On a CPU it ends early once every row in `running` has an end token.
        """
        inputs = chunk.inputs
        lengths = inputs.position_ids[0]
        layout = DecodeLayout(self._cache, lengths, chunk.table)
        with self._model.enter_pass(inputs, self._stack, attention=layout):
            for step in range(steps):
                chunk.output[step].copy_(self._model.logits(inputs).argmax(dim=-1))
                inputs.input_ids[0].copy_(chunk.output[step])
                # Rows with finished answers are decoded too, but at no position that the base lacks.
                lengths.add_(1).clamp_(max=self._last)
                if running is not None and chunk.output.device.type == "cpu":
                    running = running & ~np.isin(chunk.output[step].numpy(), self._end_ids)
                    if not running.any():
                        return step + 1
        return steps

    def _prepare(self, rows: int) -> _Chunk:
        """Allocate a chunk, and capture its graph where graphs are used."""
        # No row has pages before the first upload: a capture writes keys and values to the padding's page.
        table = torch.full((rows, self._row_pages), self._cache.pages, dtype=torch.int32)
        chunk = _Chunk.over(table, slots=self._stack.slots, device=self._model.device)
        if not self._graphs:
            return chunk
        try:
            chunk.graph = self._capture(chunk)
        except RuntimeError as error:
            if not refuses_capture(error):
                raise
            _log.warning("decoding runs without a CUDA graph: %s", short_message(error))
            self._graphs = False
        return chunk

    def _capture(self, chunk: _Chunk) -> torch.cuda.CUDAGraph:
        """Capture the graph of a chunk's steps, after an eager step that compiles the kernels."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        self._decode(chunk, 1)
        graph, _ = capture(lambda: self._decode(chunk, STEPS), pool=self._pool)
        return graph


def _spans(state: RowState) -> tuple[Span, ...]:
    """Return the spans of the blocks; adjacent blocks of one slot form one span."""
    spans: list[Span] = []
    for block, slot in enumerate(state.block_slots.tolist()):
        start, end = block * GRANULE, (block + 1) * GRANULE
        if spans and spans[-1].slot == slot and spans[-1].end == start:
            spans[-1] = Span(slot, spans[-1].start, end)
        elif slot >= 0:
            spans.append(Span(slot, start, end))
    return tuple(spans)
