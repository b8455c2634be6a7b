"""Peak of the bytes of tensors that a computation holds, counted as it runs: on any device, meta included."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_GRANULE = 512  # bytes; what CUDA's allocator rounds each tensor up to


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operators make while the mode is on, until each is freed.

    Attributes:
        now: bytes alive.
        peak: the most that were alive at once.
    """

    def __init__(self) -> None:
        """Start with nothing counted; tensors that exist already are never counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and count the storages of its results that are new."""
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            # A storage that is given was made before the mode was on.
            if id(storage) not in self._known and id(storage) not in map(id, _storages((args, kwargs))):
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        self._known.add(id(storage))
        size = -(-storage.nbytes() // _GRANULE) * _GRANULE
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, id(storage), size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    """Yield the storages of all tensors in a value; most values are one tensor."""
    for x in (values,) if isinstance(values, torch.Tensor) else tree_iter(values):
        if isinstance(x, torch.Tensor):
            yield x.untyped_storage()
