"""Peak device memory of a worker at cells of one shape; the base is built once.

python -m memory_cells.measuring SHAPE DEVICE BEFORE      cells come by standard input, one JSON per line

BEFORE: bytes in use on the device before this process began.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from packing_cells.device_memory import synchronize, used_bytes
from packing_cells.shapes import SHAPES

from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.packing.batch import OptimizerBatch, train_pass
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.memory.device import release_memory
from memory_cells.cells import MemoryCell
from memory_cells.engine_of_cell import build_cell_engine, reset_model
from memory_cells.lines import say
from memory_cells.worker import (
    architecture_of,
    base_reference,
    host_adapter,
    packed_base,
    random_base,
)

_ROUNDS = 2  # updates of every slot
_SETTINGS = Settings(scaling=1.0, max_grad_norm=1.0)


class PhaseMeter:
    """Memory of this process at its peak, phase by phase.

    On a GPU the peak of a phase is what PyTorch had reserved at most, plus what is in use beside that at the
    end of the phase: context, kernels, graphs, workspaces of libraries. Those only grow.
    """

    def __init__(self, device: torch.device, *, before: int) -> None:
        """Start the first phase.

        Args:
            device: the device.
            before: bytes in use on the device before this process began.
        """
        self._device, self._before = device, before
        self.phases: list[dict[str, Any]] = []
        self._start()

    def end(self, name: str) -> None:
        """End a phase, and start the next."""
        synchronize(self._device)
        phase = {"phase": name, "seconds": time.perf_counter() - self._began}
        if self._device.type == "cuda":
            reserved = torch.cuda.memory_reserved(self._device)
            phase |= {
                "allocated": torch.cuda.memory_allocated(self._device),
                "allocated_peak": torch.cuda.max_memory_allocated(self._device),
                "reserved_peak": torch.cuda.max_memory_reserved(self._device),
                "outside": used_bytes(self._device) - self._before - reserved,
            }
        self.phases.append(phase)
        self._start()

    @property
    def peak_bytes(self) -> int:
        """Peak over all phases; 0 on a CPU."""
        return max((p.get("reserved_peak", 0) + p.get("outside", 0) for p in self.phases), default=0)

    def _start(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._began = time.perf_counter()


class ShapeBench:
    """A base, on which one worker after another is built."""

    def __init__(self, shape: str, *, device: torch.device, before: int, folder: Path) -> None:
        """Build the base.

        Args:
            shape: name of its sizes.
            device: where.
            before: bytes in use on the device before this process began.
            folder: for configuration and tokenizer.
        """
        self._shape, self._device, self._before = SHAPES[shape], device, before
        self._reference = base_reference(self._shape, folder)
        self._architecture = architecture_of(self._reference)
        self._base = random_base(self._shape, device=device)
        self._model = packed_base(self._base, self._architecture)
        release_memory(device)
        self._base_bytes = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0

    def measure(self, cell: MemoryCell) -> dict[str, Any]:
        """Build a worker, train, copy and score in it; return its memory, and why it did not fit or None."""
        meter, error = PhaseMeter(self._device, before=self._before), None
        try:
            arrangement = self._run(cell, meter)
        except Exception as raised:
            if not is_out_of_memory(raised):
                raise
            error, arrangement = f"out of memory: {raised}"[:300], {}
        # Outside the handler: while the exception lives, so do the tensors of what failed.
        reset_model(self._model)
        release_memory(self._device)
        return {
            "error": error,
            "base_bytes": self._base_bytes,
            "peak_bytes": meter.peak_bytes,
            "phases": meter.phases,
            "arrangement": arrangement,
        }

    def _run(self, cell: MemoryCell, meter: PhaseMeter) -> dict[str, Any]:
        engine, data = build_cell_engine(
            cell,
            self._shape,
            base=self._base,
            model=self._model,
            architecture=self._architecture,
            reference=self._reference,
        )
        meter.end("build")
        adapter = host_adapter(self._model.layers, rank=cell.rank)
        pack = engine.slots.pack
        for slot in range(cell.slots):
            pack.put(slot, SlotState(matrices=adapter), _SETTINGS)
        meter.end("slots")
        for step in range(_ROUNDS):
            _train(pack, cell, list(data.train), step=step)
        meter.end("training")
        copied = pack.copy(0, adapter, moments=True)
        meter.end("copy")
        copied.fetch()
        _score(engine, adapter, list(data.select))
        meter.end("scoring")
        return engine.arrangement.model_dump()


def _train(pack: Pack, cell: MemoryCell, examples: list[Any], *, step: int) -> None:
    """Make one update of every slot."""
    size = cell.batch_size
    batches = {
        slot: OptimizerBatch(examples[slot * size : (slot + 1) * size], seed=slot, step=step, dropout=False)
        for slot in range(cell.slots)
    }
    while batches:
        train_pass(pack, batches, tokens=cell.tokens_per_pass)
        for slot in [slot for slot, batch in batches.items() if batch.done]:
            pack.update(slot, 1e-4)
            del batches[slot]


def _score(engine: Engine, adapter: AdapterState, examples: list[Any]) -> None:
    """Compute losses and answers of one adapter, as many at once as the worker does."""
    evaluator = engine.evaluator
    evaluator._jobs = TextJobs(apart=False)  # another process would only take time
    evaluator.put("adapter", adapter, examples, scaling=1.0)
    while evaluator.waiting:
        evaluator.advance()
    evaluator.scored()


def main() -> None:
    """Measure the cells that come by standard input."""
    shape, device, before = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        bench = ShapeBench(shape, device=torch.device(device), before=int(before), folder=Path(folder))
        say({"ready": shape})
        for line in sys.stdin:
            say(bench.measure(MemoryCell(**json.loads(line))))


if __name__ == "__main__":
    main()
