"""A barrier for processes, made of empty files in a folder."""

import time
from pathlib import Path

from packing_cells.measured import DidNotFitError

_POLL_SECONDS = 0.001
_PATIENCE_SECONDS = 180.0


class Alone:
    """The barrier of a single process, which never waits."""

    def wait(self, place: str) -> None:
        """Return at once."""

    def arrive(self, place: str) -> None:
        """Do nothing."""

    def everyone(self, place: str) -> bool:  # noqa: ARG002  # the same signature as the real one
        """Return True: there are no others."""
        return True


class Rendezvous:
    """A barrier of several processes, with named places."""

    def __init__(self, folder: str, *, name: str, parties: int) -> None:
        """Join.

        Args:
            folder: empty at first and the same for all.
            name: unique to this process.
            parties: number of processes.
        """
        self._folder, self._name, self._parties = Path(folder), name, parties

    def arrive(self, place: str) -> None:
        """Tell the others that this process is there."""
        (self._folder / f"{place}-{self._name}").touch()

    def everyone(self, place: str) -> bool:
        """Return True once all have arrived.

        Raises:
            DidNotFitError: one of the others gave up.
        """
        if any(self._folder.glob("gone-*")):
            raise DidNotFitError("another process gave up")
        return sum(1 for _ in self._folder.glob(f"{place}-*")) == self._parties

    def wait(self, place: str) -> None:
        """Arrive, and return when all have.

        Raises:
            DidNotFitError: one of the others gave up.
            TimeoutError: not all came within three minutes.
        """
        self.arrive(place)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.everyone(place):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._parties} processes must reach {place!r} in {_PATIENCE_SECONDS} s")
            time.sleep(_POLL_SECONDS)

    def give_up(self) -> None:
        """Make the other processes stop waiting for this one."""
        self.arrive("gone")
