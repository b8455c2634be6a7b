"""Recovery from a full device: free memory, then try again."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import torch

from loratory.objectives.futures import SerialThread
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.engine import Engine

_log = logging.getLogger(__name__)


class Need(StrEnum):
    """Work that asks for memory, as messages name it."""

    BASE = "the base, while it was loaded"
    ENGINE = "the checks of the base and the smallest pack"
    PASS = "the activations of a training pass"
    SCORING = "the cache and the passes of scoring"
    ADAPTER = "an adapter with the moments of its optimiser"
    COPY = "a copy of an adapter for scoring"


def lacks_memory(need: Need, message: str) -> torch.OutOfMemoryError:
    """Return the error of work that does not fit, with what asked for the memory.

    Args:
        need: the work.
        message: of the error that PyTorch raised.
    """
    return torch.OutOfMemoryError(f"no memory for {need}: {message}")


@contextmanager
def naming(need: Need) -> Iterator[None]:
    """Have errors of a full device say what asked for the memory, where nothing can be made smaller.

    Args:
        need: the work in the `with` block.

    Raises:
        torch.OutOfMemoryError: memory ended in the block.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise lacks_memory(need, str(error)) from error


class MemoryRelief:
    """Frees memory of the device, so that work that did not fit can be tried again.

    Work is repeated finitely often. Each `make_room` that returns True has either waited for copies, of which
    each measurement of a trial makes one, or taken a step of `Engine.make_room`, of which there are few.
    """

    def __init__(self, engine: Engine, copies: SerialThread) -> None:
        """Keep the users of memory that can be reduced.

        Args:
            engine: holds slots, passes, graphs and cache.
            copies: thread that fetches copies of adapters from the device.
        """
        self._engine, self._copies = engine, copies
        self._lines: list[str] = []

    def take_lines(self) -> list[str]:
        """Return what was made smaller since the last call, as lines for the terminal."""
        lines, self._lines = self._lines, []
        return lines

    def make_room(self, need: Need) -> bool:
        """Free memory; return False if nothing can be made smaller.

        Args:
            need: the work that did not fit.
        """
        if self._copies.finish():  # the memory of finished copies may be enough
            self._engine.begin_again()
            return True
        if not self._engine.make_room(scoring=need is Need.SCORING):
            return False
        self._lines.append(f"memory ran out for {need}; from now on {self._engine.sizes}")
        _log.warning(self._lines[-1])
        return True

    def fits(self, work: Callable[[], object], need: Need) -> bool:
        """Run `work`; return False if memory ran out and some was freed, so that a new try may fit.

        Args:
            work: changes nothing where it raises.
            need: what it is, for messages.

        Raises:
            torch.OutOfMemoryError: nothing can be made smaller.
        """
        message: str | None = None
        try:
            work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = str(error)
        # Outside the handler: while the exception lives, so do the tensors of what failed.
        if message is None:
            return True
        if not self.make_room(need):
            raise lacks_memory(need, message)
        return False
