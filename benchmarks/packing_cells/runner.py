"""Measures cells: variants in turn, what did not fit noted, an end before the time is up."""

import math
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.memory.device import device_name, release_memory, versions
from loratory.spaces.model import Quantization
from packing_cells.ceiling import measure_ceiling
from packing_cells.cells import (
    CEILING,
    GENERATE,
    OURS,
    PACKED_DECODING,
    PROCESSES,
    TRAINER,
    UNCACHED,
    UNQUANTIZED,
    Cell,
    count_of,
)
from packing_cells.decoding import measure_decode_reference
from packing_cells.device_memory import context_bytes, cores
from packing_cells.measured import DidNotFitError, Measured, Options
from packing_cells.ours import measure_ours
from packing_cells.ours_decoding import measure_decoding_ours
from packing_cells.processes import ProcessPool
from packing_cells.results import Reading, Results
from packing_cells.trainer import measure_trainer
from packing_cells.workload import Workload


class Plan(NamedTuple):
    """A cell and the variants that are compared in it."""

    cell: Cell
    variants: tuple[str, ...]


# Most tokens per step, and the number of timed steps.
_STEPS = ((1100, 20), (2048, 10), (math.inf, 6))


def steps_for(workload: Workload, *, together: int = 1) -> int:
    """Return the number of timed steps: enough for some seconds of training.

    Args:
        workload: what trials train on.
        together: trials in one go; a step is an update of each, so that fewer will do. Not where lengths
            differ: graphs of new shapes are captured now and then, and a short time would show little else.
    """
    if workload.length is None:
        return 40
    steps = next(steps for most, steps in _STEPS if workload.mean_tokens <= most)
    return max(3, steps * 4 // max(4, together))


class Runner:
    """Takes readings on one device."""

    def __init__(
        self, device: torch.device, results: Results, *, repeats: int, steps: int | None, pool_size: int
    ) -> None:
        """Describe the machine.

        Args:
            device: where everything is measured.
            results: what is there already, and where readings go.
            repeats: of every variant.
            steps: timed steps; None for `steps_for`.
            pool_size: most processes of any variant.
        """
        self._results, self._repeats, self._steps, self._pool_size = results, repeats, steps, pool_size
        self._options = Options(device=device, context_bytes=context_bytes(device))
        self._device = device_name(device)
        self._machine = {"device": self._device, "cores": cores(), **versions(NF4.packages)}
        self._pool: ProcessPool | None = None

    def run(self, plans: Sequence[Plan], *, budget_seconds: float) -> int:
        """Measure what is missing in every cell, as long as the time suffices for a whole repeat of one.

        So the figures that are compared come from one machine, one after the other.

        Returns:
            The number of measurements that failed for another reason than memory.
        """
        deadline, failed = time.monotonic() + budget_seconds, 0
        try:
            for plan in plans:
                pending = self._results.pending(
                    str(plan.cell), plan.variants, repeats=self._repeats, device=self._device
                )
                failed += self._run_cell(plan.cell, pending, deadline=deadline)
        finally:
            self._close_pool()
        return failed

    def _expected_seconds(self, cell: Cell, variants: Sequence[str]) -> float:
        return sum(
            self._results.expected_seconds(
                str(cell), variant, device=self._device, otherwise=_first_guess(variant)
            )
            for variant in variants
        )

    def _run_cell(self, cell: Cell, pending: Sequence[tuple[int, str]], *, deadline: float) -> int:
        over: set[str] = set()
        failed = 0
        for repeat, places in groupby(pending, key=itemgetter(0)):
            variants = [variant for _, variant in places if variant not in over]
            needed = self._expected_seconds(cell, variants)
            if time.monotonic() + needed > deadline:
                say(f"{cell} #{repeat + 1}: left for another run, it may take {needed:.0f} s")
                break
            failed += self._run_repeat(cell, repeat, variants, over=over)
        return failed

    def _run_repeat(self, cell: Cell, repeat: int, variants: Sequence[str], *, over: set[str]) -> int:
        """Measure variants once; those that need not be tried again are added to `over`."""
        failed = 0
        for variant in variants:
            started = time.perf_counter()
            try:
                measured = self._attempt(cell, variant, repeat)
            except Exception:  # one variant's fault must not cost the others their turn
                say(f"{cell} {variant}: failed\n{traceback.format_exc()}")
                self._close_pool()  # one of its processes may be what failed
                over.add(variant)
                failed += 1
                continue
            if measured is None:
                over.add(variant)
            self._keep(cell, variant, repeat, measured, wall_seconds=time.perf_counter() - started)
        return failed

    def _attempt(self, cell: Cell, variant: str, repeat: int) -> Measured | None:
        """Measure once; return None if memory does not suffice."""
        try:
            return self._measure(cell, variant, replace(self._options, seed=repeat))
        except DidNotFitError:
            return None
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None
        finally:
            release_memory(self._options.device)

    def _measure(self, cell: Cell, variant: str, options: Options) -> Measured:
        shape, workload = cell.model_shape, cell.workload
        if variant == GENERATE:
            return measure_decode_reference(shape, cell.decode_load, options=options)
        if variant == PACKED_DECODING:
            return measure_decoding_ours(shape, cell.decode_load, options=options)
        if variant == CEILING:
            return measure_ceiling(shape, options=options)
        if workload is None:
            raise ValueError(f"{cell} trains nothing, and has no variant {variant}")
        processes, slots = count_of(variant, PROCESSES), count_of(variant, OURS)
        steps = self._steps or steps_for(workload, together=processes or slots or 1)
        if variant == TRAINER:
            return measure_trainer(shape, workload, steps=steps, options=options)
        if processes is not None:
            return self._processes().measure(
                shape, workload, processes=processes, steps=steps, options=options
            )
        if slots is None:
            raise ValueError(f"there is no variant {variant}")
        cached = False if variant.endswith(UNCACHED) else None
        quantization = Quantization.NONE if variant.endswith(UNQUANTIZED) else Quantization.NF4
        options = replace(options, cache_base=cached, quantization=quantization)
        return measure_ours(shape, workload, slots=slots, steps=steps, options=options)

    def _keep(
        self, cell: Cell, variant: str, repeat: int, measured: Measured | None, *, wall_seconds: float
    ) -> None:
        reading = Reading(
            cell=str(cell),
            variant=variant,
            repeat=repeat,
            wall_seconds=wall_seconds,
            machine=self._machine,
            measured=None if measured is None else asdict(measured),
        )
        self._results.add(reading)
        pace = "did not fit" if measured is None else f"{measured.tokens_per_second:,.0f} tokens/s"
        say(f"{cell} {variant} #{repeat + 1}: {pace} ({wall_seconds:.1f} s)")

    def _processes(self) -> ProcessPool:
        if self._pool is None:
            self._pool = ProcessPool(self._options.device, size=self._pool_size)
        return self._pool

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _first_guess(variant: str) -> float:
    """Return the seconds to allow for a variant that was not measured yet."""
    return 6.0 + 2 * (count_of(variant, PROCESSES) or 0)


def say(text: str) -> None:
    """Print progress to standard error; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)
