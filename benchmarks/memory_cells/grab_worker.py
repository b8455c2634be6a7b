"""The loratory command with a worker that stops at one moment until a neighbour has taken memory.

python -m memory_cells.grab_worker MOMENT FOLDER run study.yaml ... --local

At the moment it writes FOLDER/reached and waits for FOLDER/grabbed; nothing else is changed.
"""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REACHED, GRABBED = "reached", "grabbed"
_LONGEST_WAIT_SECONDS = 60.0

# Module below loratory.objectives, class or nothing, function, and which of its calls is the moment.
MOMENTS = {
    "load": ("qlora.engine", "Engine", "_build", 1),  # sizes are chosen, and the base is loaded
    "capture": ("packing.runner", "", "capture", 1),
    "training": ("qlora.device_work", "DeviceWork", "_train", 4),
    "scoring": ("qlora.device_work", "DeviceWork", "_score", 2),
    "saving": ("packing.pack", "Pack", "copy", 2),
}


def stop_at(moment: str, folder: Path) -> None:
    """Make the function of a moment wait for the neighbour, before its own work."""
    module_name, class_name, name, which = MOMENTS[moment]
    module = importlib.import_module(f"loratory.objectives.{module_name}")
    owner = getattr(module, class_name) if class_name else module
    setattr(owner, name, _waiting(getattr(owner, name), which=which, folder=folder))


def _waiting(work: Callable[..., Any], *, which: int, folder: Path) -> Callable[..., Any]:
    calls = 0

    def wrapped(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == which:
            _wait(folder)
        return work(*given, **named)

    return wrapped


def _wait(folder: Path) -> None:
    (folder / REACHED).touch()
    until = time.monotonic() + _LONGEST_WAIT_SECONDS
    while not (folder / GRABBED).exists() and time.monotonic() < until:
        time.sleep(0.002)


def main() -> None:
    """Run the command line."""
    moment, folder = sys.argv.pop(1), sys.argv.pop(1)
    stop_at(moment, Path(folder))
    from loratory.search.main import main as loratory

    loratory()


if __name__ == "__main__":
    main()
