"""Where processes wait for one another: empty files in a folder."""

import time
from pathlib import Path

from packing_cells.measured import DidNotFitError

_POLL_SECONDS = 0.001
_PATIENCE_SECONDS = 180.0


class Alone:
    """The rendezvous of a process that has no neighbours: everyone is always there."""

    def wait(self, place: str) -> None:
        """Go on at once."""

    def arrive(self, place: str) -> None:
        """Nobody is told."""

    def everyone(self, place: str) -> bool:  # noqa: ARG002  # the same signature as the real one
        """Whether all have arrived: yes."""
        return True


class Rendezvous:
    """Several processes, which meet at named places."""

    def __init__(self, folder: str, *, name: str, parties: int) -> None:
        """Join.

        Args:
            folder: empty at first and the same for all.
            name: this process' own.
            parties: how many processes there are.
        """
        self._folder, self._name, self._parties = Path(folder), name, parties

    def arrive(self, place: str) -> None:
        """Tell the others that this process is there."""
        (self._folder / f"{place}-{self._name}").touch()

    def everyone(self, place: str) -> bool:
        """Whether all have arrived.

        Raises:
            DidNotFitError: one of the others gave up.
        """
        if any(self._folder.glob("gone-*")):
            raise DidNotFitError("another process gave up")
        return sum(1 for _ in self._folder.glob(f"{place}-*")) == self._parties

    def wait(self, place: str) -> None:
        """Arrive, and go on when all have.

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
        """Let nobody wait for this process any more."""
        self.arrive("gone")
