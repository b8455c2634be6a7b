"""The loratory command with a worker that traces its work; nothing else is changed.

python -m packing_cells.study_worker TRACE run study.yaml ...
"""

import importlib
import inspect
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from loratory.objectives.events import Event, Finished, Ready, Started
from loratory.search.executors.host import WorkerHost

TRACE = "LORATORY_BENCHMARK_TRACE"
_NAME = f"{socket.gethostname()} {os.getpid()}"
# Methods that are timed; none of them calls another.
_PIECES = {
    "train": ("device_work:DeviceWork", "_train"),
    "score": ("device_work:DeviceWork", "_score"),
    "place": ("slots:Slots", "place"),
    "copy": ("scoring.measurements:Measurements", "_snapshot"),
    "report": ("scoring.measurements:Measurements", "_report"),
    "finish": ("scoring.measurements:Measurements", "_finish"),
}


class TracedHost(WorkerHost):
    """A worker that writes a line of JSON for every piece of work and every trial.

    Lines have `kind`, `worker` and `at`, seconds since the epoch. Pieces are `train` and `score` on the
    device; `place` (an adapter into a slot), `copy` (for an evaluation), `report` and `finish` beside it.
    They have `seconds`, `slots` (trials that have one), `of` (slots in all) and `waiting` (copies that the
    device has to score); `started` and `finished` have `number`; `ready` has `slots` (trials at once) and
    `notes`.
    """

    _trace: TextIO | None = None

    def _put(self, events: list[Event]) -> None:
        """Take the events of a piece of work; it began when `_take` returned."""
        if self._trace is None:  # the objective is built now, with torch's threads as the study wants them
            path = Path(os.environ[TRACE])
            self._trace = path.open("a", encoding="utf-8", buffering=1)
            _trace_work(self._write)
        for event in events:
            self._note(event)
        super()._put(events)

    def _take(self, *, idle: bool) -> Any:
        decisions = super()._take(idle=idle)
        self._began = time.time()
        return decisions

    def _note(self, event: Event) -> None:
        match event:
            case Ready():
                self._write(kind="ready", at=time.time(), slots=event.capacity, notes=event.notes)
            case Started():
                self._write(kind="started", at=self._began, number=int(event.key))
            case Finished():
                self._write(kind="finished", at=time.time(), number=int(event.key))

    def _write(self, **line: Any) -> None:
        assert self._trace is not None
        self._trace.write(json.dumps({**line, "worker": _NAME}) + "\n")


def _trace_work(write: Callable[..., None]) -> None:
    """Wrap the methods of QLoRA's objective with timers."""
    for kind, (owner, name) in _PIECES.items():
        module, _, class_name = owner.partition(":")
        owner_class = getattr(importlib.import_module(f"loratory.objectives.qlora.{module}"), class_name)
        work = getattr(owner_class, name)
        timed = _timed_generator if inspect.isgeneratorfunction(work) else _timed
        setattr(owner_class, name, timed(work, partial(_noted, kind, write)))


@contextmanager
def _noted(kind: str, write: Callable[..., None], owner: Any) -> Iterator[None]:
    slots, evaluator, began = getattr(owner, "_slots", owner), getattr(owner, "_evaluator", None), time.time()
    state = {
        "slots": len(slots.training),
        "of": slots.pack.stack.slots,
        "waiting": len(evaluator.waiting) if evaluator else 0,
    }
    try:
        yield
    finally:
        write(kind=kind, at=began, seconds=time.time() - began, **state)


def _timed(work: Callable[..., Any], noted: Callable[..., Any]) -> Callable[..., Any]:
    def timed(owner: Any, *given: Any) -> Any:
        with noted(owner):
            return work(owner, *given)

    return timed


def _timed_generator(work: Callable[..., Any], noted: Callable[..., Any]) -> Callable[..., Any]:
    def timed(owner: Any, *given: Any) -> Any:
        with noted(owner):
            yield from work(owner, *given)

    return timed


def main() -> None:
    """Run the command line with traced workers."""
    from loratory.search.executors import ray_workers
    from loratory.search.main import main as loratory

    # By its importable name, not as a class of __main__: workers import it.
    from packing_cells.study_worker import TracedHost as Host

    os.environ[TRACE] = str(Path(sys.argv.pop(1)).absolute())
    ray_workers.WorkerHost = Host  # type: ignore[misc]
    loratory()


if __name__ == "__main__":
    main()
