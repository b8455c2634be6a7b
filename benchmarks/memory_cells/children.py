"""Child processes that answer in lines of JSON, and hold a context on the device of their own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memory_cells.lines import RESULT

_ALLOCATOR = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}  # see objectives/qlora/base/allocator.py


class Child:
    """A Python module in a process of its own; requests are lines of JSON, and each has one answer.

    Its allocator has the settings of a worker's, which PyTorch reads when it is imported.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, environment: Mapping[str, str] = {}) -> None:
        """Start it.

        Args:
            module: name of the module.
            arguments: of its command line.
            environment: further variables.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Not in this process's environment, where a study's worker would find it.
            env=_ALLOCATOR | environment_with_path(environment),
        )

    def answer(self) -> dict[str, Any] | None:
        """Wait for the next answer; None if the process ended without one."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(RESULT):
                found: dict[str, Any] = json.loads(line.removeprefix(RESULT))
                return found
        return None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send a request and wait for its answer; None if the process ended without one."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self.answer()

    def close(self) -> int:
        """End it, and return its exit status."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def environment_with_path(more: Mapping[str, str] = {}) -> dict[str, str]:
    """Return this process's environment, with its import path for child processes."""
    path = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
    return {**os.environ, "PYTHONPATH": path, **more}
