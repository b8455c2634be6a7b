"""A neighbour takes memory in the middle of a study, whose results must be those of an undisturbed run."""

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from loratory.objectives.study_folder import StudyFolder
from memory_cells.capped_study import CappedStudies
from memory_cells.caps import Cap
from memory_cells.children import Child
from memory_cells.grab_worker import GRABBED, REACHED

GRAB_CAP = Cap(shape="1b", free_gib=12)
UNDISTURBED = "undisturbed"
_GIB = 2**30
_LEFT_SHARE = {"load": 0.3, "capture": 0.2}  # of the cap: less, and not even a single trial would fit
_LEFT_GIB = 0.1
# In bf16 a pass of other sequences rounds otherwise.
_RELATIVE = 0.01


def run_grabs(
    studies: CappedStudies,
    cap: Cap,
    device: torch.device,
    *,
    moments: Iterable[str],
    before: Sequence[dict[str, Any]] = (),
) -> Iterator[dict[str, Any]]:
    """Run a study undisturbed, and then once for each moment; yield what became of each.

    Args:
        studies: runs the studies.
        cap: base, length and free memory at the start.
        device: the device.
        moments: those to run; of `MOMENTS`.
        before: what earlier calls yielded for this cap: moments that are there are not run again, nor is the
            undisturbed study while its folder is there.
    """
    missing = [moment for moment in moments if moment not in {line["moment"] for line in before}]
    undisturbed = next((line for line in before if _can_be_compared(line)), None)
    if undisturbed is None:
        undisturbed = {**studies.run(cap, local=True), "moment": UNDISTURBED}
        yield undisturbed
    for moment in missing:
        left = _LEFT_SHARE.get(moment, 0.0) * cap.free_gib or _LEFT_GIB
        with tempfile.TemporaryDirectory() as folder, _neighbour(Path(folder), device, left) as found:
            module = ("memory_cells.grab_worker", moment, folder)
            line = studies.run(cap, module=module, local=True)
        yield {**line, **found, "moment": moment, **_compared(line, undisturbed)}


def _can_be_compared(line: dict[str, Any]) -> bool:
    return line["moment"] == UNDISTURBED and Path(line["folder"]).is_dir()


@contextmanager
def _neighbour(folder: Path, device: torch.device, left_gib: float) -> Iterator[dict[str, Any]]:
    """Let a process with a context wait for the moment, and then take all memory but `left_gib`."""
    found: dict[str, Any] = {"grabbed": False}
    child, over = Child("memory_cells.hog", [str(device)]), threading.Event()
    child.answer()

    def wait() -> None:
        while not (folder / REACHED).exists():
            if over.wait(0.002):
                return
        began = time.monotonic()
        answer = child.ask({"leave": int(left_gib * _GIB)}) or {"free": None}
        found.update(grabbed=True, left=answer["free"], grab_seconds=time.monotonic() - began)
        (folder / GRABBED).touch()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        child.kill()


def _compared(line: dict[str, Any], undisturbed: dict[str, Any]) -> dict[str, Any]:
    """Compare the losses of a study's trials with those of an undisturbed run."""
    mine, theirs = (_losses(Path(one["folder"])) for one in (line, undisturbed))
    differences = [
        abs(a - b) / abs(b)
        for key, losses in theirs.items()
        for a, b in zip(mine.get(key, ()), losses, strict=False)
    ]
    lost = {key for key, losses in theirs.items() if len(mine.get(key, ())) != len(losses)}
    lost |= {trial["key"] for trial in line["trials"] if trial["state"] != "COMPLETE"}
    largest = max(differences, default=float("inf"))
    return {"lost": sorted(lost), "largest_difference": largest, "equal": largest <= _RELATIVE}


def _losses(path: Path) -> dict[str, list[float]]:
    """Return of each trial the losses of all updates, of all evaluations, and of the final scoring."""
    folder = StudyFolder(path)
    return {
        record.key: [
            *(point.loss for point in folder.read_curve(record.key)),
            *(measurement.metrics["loss"] for measurement in record.measurements),
            *(record.values or ()),
        ]
        for record in folder.read_records()
    }
