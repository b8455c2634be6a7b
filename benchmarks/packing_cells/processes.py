"""Variant (b): as many `Trainer`s as processes on one device, each a Ray actor with its fraction of it."""

import tempfile
from dataclasses import replace
from typing import Any

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.memory.device import release_memory
from packing_cells.device_memory import cores, peak_bytes, start_peak, used_bytes
from packing_cells.measured import DidNotFitError, Measured, Options
from packing_cells.rendezvous import Rendezvous
from packing_cells.shapes import ModelShape
from packing_cells.workload import Workload


class TrainerProcess:
    """One Trainer process; a Ray actor."""

    def __init__(self, device: str, *, threads: int) -> None:
        """Import what training needs, and make the device's context."""
        import packing_cells.trainer  # noqa: F401  # slow, and no part of what is timed

        torch.set_num_threads(threads)
        self._device = torch.device(device)
        torch.zeros(1, device=self._device)
        release_memory(self._device)

    def ready(self) -> bool:
        """Return True once the process is up."""
        return True

    def train(
        self,
        shape: ModelShape,
        workload: Workload,
        *,
        steps: int,
        options: Options,
        folder: str,
        parties: int,
    ) -> dict[str, float] | None:
        """Train one trial beside `parties - 1` others; None where memory ran out, here or there."""
        from packing_cells.trainer import train_trial

        meeting = Rendezvous(folder, name=str(options.seed), parties=parties)
        start_peak(self._device)
        try:
            clock = train_trial(shape, workload, steps=steps, options=options, meeting=meeting)
        except Exception as error:
            meeting.give_up()
            if isinstance(error, DidNotFitError) or is_out_of_memory(error):
                return None
            raise
        return {"tokens": clock.tokens, "seconds": clock.seconds, "peak": peak_bytes(self._device)}

    def release(self) -> None:
        """Give back the memory of the last training."""
        release_memory(self._device)


class ProcessPool:
    """Processes that wait with a context on the device; the memory of idle ones is not counted."""

    def __init__(self, device: torch.device, *, size: int) -> None:
        """Start them, and wait until they are up.

        Args:
            device: shared by all.
            size: number of processes; each takes `1 / size` of the device as Ray counts it.
        """
        import ray

        on_gpu = device.type == "cuda"
        self._device, self._ray = device, ray
        before = used_bytes(device)
        ray.init(
            address="local",
            num_cpus=max(size, cores()),
            num_gpus=1 if on_gpu else 0,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
        actor = ray.remote(num_cpus=1, num_gpus=1 / size if on_gpu else 0)(TrainerProcess)
        threads = max(1, cores() // size)
        self._actors: list[Any] = [actor.remote(str(device), threads=threads) for _ in range(size)]
        ray.get([actor.ready.remote() for actor in self._actors])
        self._context_bytes = (used_bytes(device) - before) // size

    def measure(
        self, shape: ModelShape, workload: Workload, *, processes: int, steps: int, options: Options
    ) -> Measured:
        """Measure useful tokens per second of all processes together, while all of them train.

        Args:
            shape: the model; every process has its own.
            workload: the data of each process' trial.
            processes: number that train at once; at most the pool's size.
            steps: optimiser steps that are timed in each.
            options: device, warm-up and seed.

        Raises:
            DidNotFitError: one of them ran out of memory.
        """
        release_memory(self._device)
        before, chosen = used_bytes(self._device), self._actors[:processes]
        with tempfile.TemporaryDirectory() as folder:
            results = self._ray.get(
                [
                    actor.train.remote(
                        shape,
                        workload,
                        steps=steps,
                        options=replace(options, seed=options.seed * len(self._actors) + number),
                        folder=folder,
                        parties=processes,
                    )
                    for number, actor in enumerate(chosen)
                ]
            )
        taken = used_bytes(self._device) - before + processes * self._context_bytes
        self._ray.get([actor.release.remote() for actor in chosen])
        if not all(results):
            raise DidNotFitError(f"{processes} processes need more memory than there is")
        return _summary(results, steps=steps, device=self._device, taken=taken)

    def close(self) -> None:
        """End the processes."""
        self._ray.shutdown()


def _summary(results: list[dict[str, float]], *, steps: int, device: torch.device, taken: int) -> Measured:
    peak = round(sum(result["peak"] for result in results))
    return Measured(
        tokens_per_second=sum(result["tokens"] / result["seconds"] for result in results),
        trials=len(results),
        steps=steps,
        seconds=max(result["seconds"] for result in results),
        peak_memory_bytes=peak,
        device_memory_bytes=taken if device.type == "cuda" else peak,
    )
