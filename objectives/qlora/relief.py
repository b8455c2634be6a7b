"""Recovery from a full device: free memory, then try again."""

from collections.abc import Callable

import torch

from loratory.objectives.futures import SerialThread
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.qlora.engine import Engine


class MemoryRelief:
    """Frees memory of the device, so that work that did not fit can be tried again."""

    def __init__(self, engine: Engine, copies: SerialThread) -> None:
        """Keep the users of memory that can be reduced.

        Args:
            engine: holds slots, passes, graphs and cache.
            copies: thread that fetches copies of adapters from the device.
        """
        self._engine, self._copies = engine, copies

    def make_room(self, *, scoring: bool = False) -> bool:
        """Free memory; return False if nothing can be made smaller.

        Args:
            scoring: whether memory ran out while adapters were scored.
        """
        if self._copies.finish():  # the memory of finished copies may be enough
            self._engine.begin_again()
            return True
        return self._engine.make_room(scoring=scoring)

    def fits(self, work: Callable[[], object]) -> bool:
        """Run `work`; return False if memory ran out and some was freed, so that a new try may fit.

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
        if not self.make_room():
            raise torch.OutOfMemoryError(message)
        return False
