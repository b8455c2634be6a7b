"""Tokens per second of training in one process, by the settings of the study file.

python -m memory_cells.engine_timing SHAPE DEVICE LENGTH

Requests by standard input: {"ceiling": true}, or the name, `model` and `packing` of some settings, with
`trials` and `rank`. For each settings the base is built anew, since an engine changes it.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from packing_cells.ceiling import measure_ceiling
from packing_cells.device_memory import synchronize
from packing_cells.measured import Options
from packing_cells.ours import SETTINGS, PackRun
from packing_cells.shapes import SHAPES
from packing_cells.workload import Workload

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.slot_copy import SlotState
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.memory.device import release_memory
from loratory.spaces.errors import LoratoryError
from memory_cells.lines import say
from memory_cells.worker import (
    architecture_of,
    base_reference,
    build_default_engine,
    host_adapter,
    random_base,
    random_data,
    study_of,
)

_BATCH = 4  # examples per optimiser batch
_WARMUP_UPDATES, _TIMED_UPDATES = 2, 4  # of every slot
_LEAST_SECONDS = 4.0
_PROVIDED = 8  # updates for which there are examples; then they come again


class EngineTimes:
    """Engines over random bases of one shape."""

    def __init__(self, shape: str, *, device: torch.device, length: int, folder: Path) -> None:
        """Write configuration and tokenizer.

        Args:
            shape: name of the sizes.
            device: where.
            length: tokens of every example.
            folder: for the files.
        """
        self._shape, self._device, self._length = SHAPES[shape], device, length
        self._reference = base_reference(self._shape, folder)
        self._architecture = architecture_of(self._reference)

    def ceiling(self) -> dict[str, Any]:
        """Return the tokens per second that the base's matrix products allow."""
        measured = measure_ceiling(self._shape, options=Options(device=self._device))
        release_memory(self._device)
        return {"tokens_per_second": measured.tokens_per_second, **measured.details}

    def measure(
        self, *, name: str, model: dict[str, Any], packing: dict[str, Any], trials: int, rank: int
    ) -> dict[str, Any]:
        """Return tokens per second, arrangement and peak with some settings, or why they do not work."""
        error, measured = None, {}
        try:
            measured = self._time(model, packing, trials=trials, rank=rank)
        except Exception as raised:
            if not (isinstance(raised, LoratoryError) or is_out_of_memory(raised)):
                raise
            error = f"{type(raised).__name__}: {raised}"[:300]
        # Outside the handler: while the exception lives, so do the tensors of what failed.
        release_memory(self._device)
        return {"name": name, "error": error, **measured}

    def _time(
        self, model: dict[str, Any], packing: dict[str, Any], *, trials: int, rank: int
    ) -> dict[str, Any]:
        study = study_of(
            self._reference,
            length=self._length,
            ranks=(rank,),
            batch_sizes=(_BATCH, 2 * _BATCH),
            max_new_tokens=16,
            trials=trials,
            model=model,
            packing=packing,
        )
        data = random_data(
            self._shape, length=self._length, prompt_tokens=self._length // 2, train=64, scored=16
        )
        began = time.perf_counter()
        base = random_base(self._shape, device=self._device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        engine = build_default_engine(
            study, base=base, architecture=self._architecture, data=data, reference=self._reference
        )
        built = time.perf_counter() - began
        return {"build_seconds": built, **self._rate(engine, rank=rank)}

    def _rate(self, engine: Engine, *, rank: int) -> dict[str, Any]:
        """Train all slots, and return the rate after the warm-up."""
        pack = engine.slots.pack
        adapter = host_adapter(pack.model.layers, rank=rank)
        for slot in range(pack.stack.slots):
            pack.put(slot, SlotState(matrices=adapter), SETTINGS)
        workload = Workload(name="capped", batch_size=_BATCH, length=self._length)
        tokens = engine.slots.tokens_per_pass
        run = PackRun(pack, self._shape, workload, steps=_PROVIDED, seed=0, tokens_per_pass=tokens)
        while run.updates < _WARMUP_UPDATES * run.slots:
            run.advance()
        run.settle()
        synchronize(self._device)
        updates, before, began = run.updates, run.tokens, time.perf_counter()
        while run.updates < updates + _TIMED_UPDATES * run.slots or self._short(began):
            run.advance()
        run.settle()
        synchronize(self._device)
        seconds = time.perf_counter() - began
        peak = torch.cuda.max_memory_reserved(self._device) if self._device.type == "cuda" else 0
        return {
            "tokens_per_second": (run.tokens - before) / seconds,
            "seconds": seconds,
            "arrangement": engine.arrangement.model_dump(exclude_none=True),
            "notes": list(engine.notes),
            "reserved_peak_bytes": peak,
        }

    def _short(self, began: float) -> bool:
        return self._device.type == "cuda" and time.perf_counter() - began < _LEAST_SECONDS


def main() -> None:
    """Answer requests."""
    shape, device, length = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        times = EngineTimes(shape, device=torch.device(device), length=int(length), folder=Path(folder))
        say({"ready": shape})
        for line in sys.stdin:
            request = json.loads(line)
            say(times.ceiling() if request.pop("ceiling", False) else times.measure(**request))


if __name__ == "__main__":
    main()
