"""A study through `loratory run` in what a neighbour leaves free of the device."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from packing_cells.shapes import SHAPES
from packing_cells.study_files import write_base, write_data
from packing_cells.study_ours import write_study

from loratory.objectives.qlora.memory.device import release_memory
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from memory_cells.caps import Cap, size_of_study, study_of_cap
from memory_cells.children import Child, environment_with_path
from memory_cells.watch import DeviceWatch

_GIB = 2**30
_LAST_LINES = 25
_SECONDS_TO_END = 20


class CappedStudies:
    """Files of the studies, and the neighbour that holds the rest of the device."""

    def __init__(self, folder: Path, *, device: torch.device, local: bool, seconds: float) -> None:
        """Keep where and how studies run.

        Args:
            folder: for bases, data, study files and runs.
            device: the device.
            local: whether workers run in the command's own process, without Ray.
            seconds: a study that takes longer is ended.
        """
        self._folder, self._device, self._local, self._seconds = folder, device, local, seconds

    def run(
        self, cap: Cap, *, module: Sequence[str] = ("loratory.search.main",), local: bool | None = None
    ) -> dict[str, Any]:
        """Run a study in a cap, and return what became of it.

        Args:
            cap: base, length and free memory.
            module: the module that is the command, with arguments of its own before `run`.
            local: as of the whole object, by default.
        """
        path = self._study_file(cap)
        watch = DeviceWatch(self._device)
        with hogged(cap.free_gib, self._device) as free:
            watch.rebase()
            began = time.monotonic()
            with watch.sampling():
                status, output = self._command(path, module, self._local if local is None else local)
            seconds = time.monotonic() - began
        runs = StudyFolder(self._folder / "runs" / path.stem)
        return {
            "cap": cap.name,
            "free_gib": free / _GIB,
            "exit_status": status,
            "seconds": seconds,
            "peak_gib": watch.peak / _GIB,
            "trials": [_summary(record) for record in runs.read_records()],
            "arrangements": _arrangements(runs.read_records()),
            "output": output,
            "folder": str(runs.path),
        }

    def _study_file(self, cap: Cap) -> Path:
        """Write base, data and study file, and remove the bases of other shapes: disks are small."""
        shape = SHAPES[cap.shape]
        base, data = self._folder / "bases" / cap.shape, self._folder / f"data-{cap.shape}-{cap.length}"
        for other in self._folder.glob("bases/*"):
            if other != base:
                shutil.rmtree(other)
        base.parent.mkdir(parents=True, exist_ok=True)
        write_base(base, shape, device=self._device)
        release_memory(self._device)
        write_data(data, size_of_study(cap), vocabulary=shape.vocabulary)
        name = f"{cap.name.replace('.', '-')}-{time.time_ns() // 1_000_000}"  # an old name would be resumed
        path = self._folder / f"{name}.yaml"
        write_study(path, study_of_cap(cap, name=name, base=base, data=data))
        return path

    def _command(self, path: Path, module: Sequence[str], local: bool) -> tuple[int | None, list[str]]:
        """Run the command; return its exit status, None where it took too long, and its last lines."""
        log = path.with_suffix(".log")
        command = [sys.executable, "-m", *module, "run", str(path), "--runs", str(self._folder / "runs")]
        command += ["--local"] if local else []
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if self._device.type == "cpu" else {}
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment_with_path(hidden),
                start_new_session=True,
            )
            status: int | None
            try:
                status = process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                status = None
                _end(process)
        return status, log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and its children, in order if it can."""
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def hogged(free_gib: float, device: torch.device) -> Any:
    """Let a neighbour hold all but `free_gib` of the device inside a `with` block; give the bytes left."""
    if device.type == "cpu":
        yield 0
        return
    hog = Child("memory_cells.hog", [str(device)])
    try:
        hog.answer()
        answer = hog.ask({"leave": int(free_gib * _GIB)})
        if answer is None:
            raise RuntimeError("the process that holds memory must answer, has ended")
        yield answer["free"]
    finally:
        hog.kill()


def _summary(record: TrialRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "state": str(record.state),
        "reason": record.reason[:200],
        "attempts": len(record.attempts),
        "params": record.params,
        "values": record.values,
        "dev": [measurement.metrics.get("loss") for measurement in record.measurements],
        "failures": [failure.message[:200] for failure in record.failures],
    }


def _arrangements(records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return the different arrangements in the records."""
    found: list[dict[str, Any]] = []
    for record in records:
        arrangement = record.provenance.arrangement
        if arrangement is not None and (data := arrangement.model_dump(exclude_none=True)) not in found:
            found.append(data)
    return found
