"""Run a Python module in a separate process, with requests and answers as lines of JSON."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ChildLostError(RuntimeError):
    """The child died, or did not answer in time."""


class ChildProcess:
    """A child process.

    It is a plain subprocess, because `multiprocessing` would run the user's script again in the child. It has
    its own session, so that Ctrl-C in the terminal does not end it before its work is written.
    """

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        """Start the process.

        Args:
            module: module for `python -m`. It reads requests from standard input, writes one answer per
                request to standard output, and ends when its input ends.
            environment: all its environment variables.
            log: file for its standard error.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as error_stream:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],  # -P: no file in the user's folder shadows a library
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error_stream,
                env=dict(environment),
                start_new_session=True,
            )
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            ChildLostError: the process is dead, or gives no answer in time.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildLostError(f"its process ended ({self._ending()})") from error
        return self._answer(timeout_seconds)

    def kill(self) -> None:
        """Kill the process; any thread may call this."""
        self._process.kill()

    def close(self, timeout_seconds: float) -> bool:
        """Close the process's input and wait for its end; kill it if that takes too long.

        Returns:
            Whether the process ended by itself.
        """
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout_seconds)
            in_time = True
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            in_time = False
        if self._process.stdout is not None:
            self._process.stdout.close()
        return in_time

    def _answer(self, timeout_seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        stream = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ChildLostError(f"its process gave no answer in {timeout_seconds:g} s")
            data = os.read(stream, 65_536)
            if not data:
                raise ChildLostError(f"its process ended ({self._ending()})")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        return "still running" if code is None else f"exit status {code}"
