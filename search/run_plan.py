"""The plan of a run, made while its workers start."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from loratory.objectives.objective import Prepared
from loratory.spaces.study import ObjectiveName, StudySpec

_MOSTLY_FREE = 0.95  # the driver itself keeps up to a GiB


class RunPlan:
    """Prints the summary of a study's plan, and knows how long the study will take.

    A plan takes seconds, in which workers load the base, so a thread makes it. A run without a GPU has none.
    """

    def __init__(
        self,
        study: StudySpec,
        prepared: Prepared,
        say: Callable[[str], None],
        *,
        runs: Path = Path("runs"),
        wanted: bool = True,
    ) -> None:
        """Start to plan.

        Args:
            study: the study.
            prepared: its prepared data.
            say: prints a line; is called from another thread.
            runs: where study folders lie.
            wanted: False makes no plan: the run does something else than the search.
        """
        self._study, self._prepared, self._say, self._runs = study, prepared, say, runs
        self._seconds: float | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._plan, name="plan", daemon=True)
        if wanted and study.objective is ObjectiveName.QLORA:
            self._thread.start()

    def seconds(self) -> float | None:
        """Return the predicted seconds of the search; None if they are not known yet, or cannot be."""
        return self._seconds

    def close(self) -> None:
        """Print nothing from now on: the run is over."""
        self._closed = True

    def _plan(self) -> None:
        try:
            self._print()
        except Exception as error:  # a plan is a service: what it cannot do must not stop a run
            self._tell(f"plan: none, since {' '.join(str(error).split())[:300]}")

    def _tell(self, line: str) -> None:
        if not self._closed:
            self._say(line)

    def _print(self) -> None:
        import torch

        if not torch.cuda.is_available():
            return
        from loratory.objectives.qlora.memory.devices import free_bytes, gpu_of_device
        from loratory.objectives.qlora.memory.planning import plan_of_data, share_of
        from loratory.search.plan_view import summary_lines, with_disk_note
        from loratory.search.samplers import trial_limit

        device = torch.device("cuda", 0)
        whole = gpu_of_device(device)
        free = free_bytes(device) or whole.memory_bytes
        if free < _MOSTLY_FREE * whole.memory_bytes:
            self._tell(
                f"plan: {free / 2**30:.1f} GiB of the GPU's {whole.memory_bytes / 2**30:.1f} are free: other "
                "processes have the rest"
            )
        gpu = share_of(replace(whole, memory_bytes=min(free, whole.memory_bytes)), self._study)
        workers = self._study.resources.workers or torch.cuda.device_count()
        study = self._study.model_copy(update={"trials": trial_limit(self._study)})
        plan = plan_of_data(study, self._prepared.payload.data, gpu=gpu, gpus=workers)
        if plan.worker is not None and plan.worker.durations is not None:
            self._seconds = plan.worker.durations.search_seconds(workers)
        for line in summary_lines(with_disk_note(plan, self._runs)):
            self._tell(line)
