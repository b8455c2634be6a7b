"""Errors of an empty memory at chosen allocations of a worker that computes on the CPU."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PACKAGE = "/objectives/"
# Functions of the worker, and the work that they do; the outermost counts, but relief is relief.
WORK = {
    "_place": "placing",
    "_train": "training",
    "_score": "scoring",
    "_look_after": "saving",
    "_take": "saving",
    "_build": "building",
}


class Site(NamedTuple):
    """Where memory is allocated.

    Attributes:
        work: what the worker does, see `WORK`; empty elsewhere.
        place: file and line of the innermost function of loratory.
        operation: of PyTorch.
    """

    work: str
    place: str
    operation: str


class Allocations(TorchDispatchMode):
    """Counts allocations by site inside a `with` block, and refuses those that it is told to.

    Attributes:
        seen: number of allocations by site.
        refused: the sites that were refused, in order.
    """

    def __init__(self, refuse: Callable[[Site, int], bool] = lambda site, number: False) -> None:
        """Start with nothing seen.

        Args:
            refuse: whether to refuse the allocation of a site that is its n-th, from 1.
        """
        super().__init__()
        self._refuse = refuse
        self.seen: Counter[Site] = Counter()
        self.refused: list[Site] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation, or raise what a full device raises."""
        if _allocates(func):
            site = _site(str(func))
            self.seen[site] += 1
            if self._refuse(site, self.seen[site]):
                self.refused.append(site)
                raise torch.OutOfMemoryError(f"CUDA out of memory (injected in {site.operation})")
        return func(*args, **(kwargs or {}))


def _allocates(func: torch._ops.OpOverload) -> bool:
    """Return whether an operation makes a new tensor, neither a view nor a change in place."""
    return any(r.alias_info is None and "Tensor" in str(r.type) for r in func._schema.returns)


def _site(operation: str) -> Site:
    frame, place, work, relief = sys._getframe(2), "", "", False
    while frame is not None:
        code = frame.f_code
        if PACKAGE in code.co_filename and "/tests/" not in code.co_filename:
            place = place or f"{code.co_filename.rpartition(PACKAGE)[2]}:{frame.f_lineno}"
            work = WORK.get(code.co_name, work)
            relief = relief or code.co_name == "make_room"
        frame = frame.f_back
    return Site("relief" if relief else work, place, operation)
